"""Which parts make up each stage. A stage's module is imported only by the process that runs it: that halves the start.

Keys are handed out here and nowhere else: payment, triage and settlement get none.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from serving.errors import ConfigurationError
from serving.keyring import load_sealing, load_unsealing
from serving.pipeline import Stage
from serving.queue.client import Client
from serving.sealing import LookupKey, load_lookup
from serving.settings import Settings
from serving.stage import Handler, Shortfall

if TYPE_CHECKING:
    from serving.personal import Personal
    from serving.scoring import Scorer
    from serving.web.token import Links

LONG_CONTEXT = 256
"""Tokens that reanalysis reads, where classification reads the model's own (shorter) length."""
AT_ONCE, OCTETS_AT_ONCE = 64, 64 << 20
"""On how many notifications a stage works at once, and on how large ones: the more, the more share a commit."""
SEALINGS_AT_ONCE = 32
"""Sealing takes longest, and what is urgent waits for what has begun."""


@dataclass(frozen=True, slots=True)
class Wired:
    """A stage's handler; what it says when the wallet is empty; the scorer, for classification; on how many
    notifications it works at once, and on how many octets of mail (None: however large they are)."""

    handle: Handler
    unfunded: Shortfall | None = None
    scorer: "Scorer | None" = None
    concurrency: int = AT_ONCE
    octets: int | None = OCTETS_AT_ONCE


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is to wire with; what is opened goes onto `resources` and is closed when the stage stops."""

    settings: Settings
    client: Client
    resources: AsyncExitStack


def wire(stage: Stage, parts: Parts) -> Wired:
    """The stage, ready to handle work.

    Raises:
        ConfigurationError: a key file or the model is missing.
    """
    return _builder(stage)(parts)


def _builder(stage: Stage) -> Callable[[Parts], Wired]:  # noqa: C901 - one flat match
    match stage:
        case Stage.AUTHENTICATION:
            return _authentication
        case Stage.CLASSIFICATION:
            return _classification
        case Stage.REANALYSIS:
            return _reanalysis
        case Stage.TRIAGE:
            return _triage
        case Stage.DIGEST:
            return _digest
        case Stage.ENCRYPTION:
            return _encryption
        case Stage.PAYMENT:
            return _payment
        case Stage.DELIVERY:
            return _delivery
        case Stage.SETTLEMENT:
            return _settlement
        case Stage.NOTICE:
            return _notice
        case Stage.ESCALATION:
            return _escalation
        case _:
            assert_never(stage)


def _authentication(parts: Parts) -> Wired:
    from serving.addresses import canonical_domain, own_domain
    from serving.authentication.relayed import RelayedMail
    from serving.authentication.resolver import DnsResolver
    from serving.authentication.stage import Authentication
    from serving.learning import Learning

    settings, content = parts.settings, load_unsealing(parts.settings.keys, "content")
    relayed = RelayedMail(
        DnsResolver(settings.dns_servers, port=settings.dns_port),
        content.sealing_key,
        authserv_id=own_domain(settings.mail_from),
        trusted_sealers=[name for name in map(canonical_domain, settings.trusted_sealers) if name],
        clock=time.time,
        learn=Learning(parts.client, content, load_lookup(settings.keys)),
    )
    return Wired(Authentication(parts.client, content, relayed).handle)


def _classification(parts: Parts) -> Wired:
    from serving.classification import Classification

    scorer = _scorer(parts)
    return Wired(Classification(scorer, _personal(parts)).handle, scorer=scorer)


def _reanalysis(parts: Parts) -> Wired:
    from serving.reanalysis import Reanalysis

    return Wired(Reanalysis(_scorer(parts, max_length=LONG_CONTEXT), _personal(parts)).handle)


def _personal(parts: Parts) -> "Personal":
    from serving.personal import Personal

    return Personal(parts.client, load_unsealing(parts.settings.keys, "content"), time.time)


def _scorer(parts: Parts, *, max_length: int | None = None) -> "Scorer":
    from serving.scoring import Scorer
    from training.artefact import Artefact, ArtefactError

    settings = parts.settings
    if settings.artefact is None:
        raise ConfigurationError("no model; set CLARION_ARTEFACT to a champion's folder, or start with `clarion serve`")
    try:
        model = Artefact.load(settings.artefact)
    except ArtefactError as error:
        raise ConfigurationError(f"the model does not load: {error}") from None
    content, lookup = load_unsealing(settings.keys, "content"), load_lookup(settings.keys)
    return Scorer(parts.client, model, content, lookup, max_length=max_length)


def _triage(parts: Parts) -> Wired:
    from serving.triage import Triage
    from serving.wishes.wish import Wishes

    defaults = Wishes(digest_every=parts.settings.digest_interval)
    return Wired(Triage(parts.client, time.time, defaults=defaults).handle)


def _digest(parts: Parts) -> Wired:
    from serving.digest.stage import Digest, Post

    settings = parts.settings
    content, lookup = load_unsealing(settings.keys, "content"), load_lookup(settings.keys)
    post = Post(settings.mail_from, settings.react_url, settings.unsubscribe_url, _links(lookup))
    return Wired(Digest(parts.client, content, post, time.time).handle)


def _encryption(parts: Parts) -> Wired:
    from serving.acknowledging import AcknowledgeLinks
    from serving.encryption.signing import load_signing_key
    from serving.encryption.smime_signing import load_smime_signing_key
    from serving.encryption.stage import Encryption

    settings, lookup = parts.settings, load_lookup(parts.settings.keys)
    content, delivery = load_unsealing(settings.keys, "content"), load_sealing(settings.keys, "delivery")
    encryption = Encryption(
        parts.client,
        content,
        delivery,
        settings.mail_from,
        time.time,
        lookup=lookup,
        signer=load_signing_key(settings.keys),
        smime_signer=load_smime_signing_key(settings.keys),
        links=AcknowledgeLinks(settings.react_url, _links(lookup)),
    )
    return Wired(encryption.handle, concurrency=SEALINGS_AT_ONCE)


def _links(lookup: LookupKey) -> "Links":
    from serving.web.token import Links

    return Links(lookup.derive("pay"))


def _payment(parts: Parts) -> Wired:
    from serving.payment.policy import Defaults
    from serving.payment.providers import HAVE_CARDS, connect
    from serving.payment.stage import Payment

    settings = parts.settings
    defaults = Defaults(
        settings.price,
        settings.currency,
        settings.payment_wait,
        settings.unpaid,
        settings.free_notifications,
        settings.hold_expiry,
    )
    provider = connect(settings)
    parts.resources.push_async_callback(provider.close)
    payment = Payment(parts.client, defaults, provider=provider if settings.provider in HAVE_CARDS else None)
    return Wired(payment.handle, payment.unfunded)


def _delivery(parts: Parts) -> Wired:
    from serving.delivery.outbound import router
    from serving.delivery.reporting import Reporting, Terms
    from serving.delivery.schedule import Schedule
    from serving.delivery.signing import load_dkim_key
    from serving.delivery.stage import Delivery
    from serving.delivery.tls import contexts

    settings, key = parts.settings, load_unsealing(parts.settings.keys, "delivery")
    chance = random.Random()  # noqa: S311 - jitter needs no secrecy
    delivery = Delivery(
        key,
        router(settings, chance),
        expiry=settings.delivery_expiry,
        random=chance,
        schedule=Schedule(first=settings.first_retry, cap=settings.longest_retry),
        places=settings.delivery_places,
        connections=settings.delivery_connections,
        rate=settings.mx_rate if settings.delivery == "mx" else 0.0,
        mails=settings.connection_mails,
        idle=settings.connection_idle,
        tls=contexts(settings.smtp_ca_file),
        dkim=load_dkim_key(settings.keys, settings.mail_from, settings.dkim_selector),
    )
    parts.resources.push_async_callback(delivery.close)
    terms = Terms(
        settings.mail_from,
        expiry=settings.delivery_expiry,
        delay=settings.report_delay,
        suppression=settings.suppression_days * 86_400.0,
        remote=settings.smtp_host if settings.delivery == "smarthost" else "",
    )
    content = load_sealing(settings.keys, "content")
    reporting = Reporting(delivery.handle, parts.client, key, content, terms, time.time)
    return Wired(reporting.handle, concurrency=settings.delivery_places, octets=None)


def _settlement(parts: Parts) -> Wired:
    from serving.payment.providers import connect
    from serving.payment.release import Release
    from serving.payment.topup import keep_resuming
    from serving.settlement import Settlement

    provider = connect(parts.settings)
    parts.resources.push_async_callback(provider.close)
    resuming = asyncio.create_task(keep_resuming(parts.client, provider))
    parts.resources.callback(resuming.cancel)
    release = Release(parts.client, provider)
    return Wired(Settlement(release, release.void).handle)


def _notice(parts: Parts) -> Wired:
    from serving.bounces.telling import Teller, keep_telling
    from serving.expiry_notice import keep_warning
    from serving.notice.stage import Notice, Post

    settings = parts.settings
    content, lookup = load_unsealing(settings.keys, "content"), load_lookup(settings.keys)
    post = Post(settings.mail_from, settings.pay_url, _links(lookup))
    warning = asyncio.create_task(keep_warning(parts.client, content, lookup, settings.mail_from, time.time))
    parts.resources.callback(warning.cancel)
    telling = asyncio.create_task(keep_telling(Teller(parts.client, content, lookup, settings.mail_from)))
    parts.resources.callback(telling.cancel)
    return Wired(Notice(parts.client, content, lookup, post, time.time).handle)


def _escalation(parts: Parts) -> Wired:
    from serving.acknowledging import AcknowledgeLinks
    from serving.escalation.push import Pushes
    from serving.escalation.stage import Escalation, Keys

    settings = parts.settings
    content, lookup = load_unsealing(settings.keys, "content"), load_lookup(settings.keys)
    links = AcknowledgeLinks(settings.react_url, _links(lookup))
    pushes = Pushes(settings.apprise_schemes)
    return Wired(Escalation(parts.client, Keys(content, lookup), links, pushes, time.time).handle)
