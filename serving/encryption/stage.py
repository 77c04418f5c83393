"""The stage that makes every mail ready to travel: sealed to its recipient, or open where a written policy says so."""

import asyncio
import json
import logging
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from cryptography import x509
from pysequoia import Tsk

from serving.acknowledging import AcknowledgeLinks, Note, is_urgent
from serving.addresses import own_domain
from serving.answering import answered_at, answered_through
from serving.encryption import sealed, smime
from serving.encryption.bundle import METHODS, choose
from serving.encryption.certificates import Unusable
from serving.encryption.outside import Fields, Outside
from serving.encryption.relayed import relay
from serving.encryption.smime_signing import Signer
from serving.envelope import without_envelope
from serving.errors import Refused
from serving.identifiers import format_id
from serving.mail import split
from serving.origin import REPORTS, origin_of
from serving.pipeline import Enclosed, EnclosedFree, Keyless, KeyMissing
from serving.return_addresses import ReturnAddresses
from serving.sealing import LookupKey, SealingKey, UnsealingKey
from serving.stage import Work
from serving.trace import without_forged, without_return_path
from serving.values import Method, OpenByPolicy, Sealed

DIGEST = "digest"
SMALL = 64 << 10
"""Octets of a mail that is made ready sooner than a thread takes over."""

_log = logging.getLogger(__name__)


class Store(Protocol):
    """What encryption asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


class Encryption:
    """Makes the one envelope of a notification; `mail_from` is the gateway's own address."""

    def __init__(
        self,
        client: Store,
        content: UnsealingKey,
        delivery: SealingKey,
        mail_from: str,
        clock: Callable[[], float],
        *,
        lookup: LookupKey,
        signer: Tsk | None = None,
        smime_signer: Signer | None = None,
        links: AcknowledgeLinks | None = None,
    ) -> None:
        """`lookup` proves the addresses that our mail comes back to. Without `smime_signer` nothing is sealed with
        S/MIME, which proves nothing unless it is signed; without `links` urgent mail does not say where to acknowledge
        it."""
        self._client = client
        self._content = content
        self._delivery = delivery
        self._mail_from = mail_from
        self._clock = clock
        self._lookup = lookup
        self._returns = ReturnAddresses(lookup.derive("return"), own_domain(mail_from))
        self._signer = signer
        self._smime_signer = smime_signer
        self._links = links

    async def handle(self, work: Work) -> Enclosed | EnclosedFree | Keyless | KeyMissing:
        """Enclosed, EnclosedFree where the facts hold a waiver; Keyless, or KeyMissing where everybody knows already,
        where it must be sealed and cannot be.

        Raises:
            Unsealable: body, address or certificate is sealed for another key or was altered.
        """
        rows = await self._client.query("recipient", lookup=work.recipient.hex())
        recipient = rows[0] if rows else {}
        envelope = await self._open(work, recipient) or await self._sealed(work, recipient)
        if isinstance(envelope, Unusable) and "notice" in work.facts and work.facts.get("open") is True:
            envelope = OpenByPolicy(await self._relayed(work), "notice")
        if isinstance(envelope, Unusable):
            is_known = "told" in work.facts or "notice" in work.facts
            return KeyMissing(envelope.reason) if is_known else Keyless(envelope.reason)
        waiver, watch = work.facts.get("waiver"), await self._watch(work, recipient)
        return Enclosed(envelope, watch) if waiver is None else EnclosedFree(envelope, str(waiver), watch)

    async def _watch(self, work: Work, recipient: Mapping[str, Any]) -> int | None:
        """Begun for what is urgent, where its recipient has a chain, and never for what comes of one: chains in a
        circle would never end."""
        if not recipient.get("escalates") or "escalated" in work.facts or not is_urgent(work.facts):
            return None
        try:
            return int((await self._client.execute("watch", about=str(work.id)))["id"])
        except Refused as refused:
            if refused.reason == "storage":
                raise
            _log.error("notification %d is not watched: %s", work.id, refused)  # it must not stay behind for that
            return None

    def _note(self, work: Work) -> Note | None:
        """What an urgent mail tells its reader beside its own words."""
        is_escalated = "escalated" in work.facts
        if self._links is None or not (is_escalated or is_urgent(work.facts)):
            return None
        return Note(self._links.make(work.id, work.accepted_at), is_escalated)

    async def _open(self, work: Work, recipient: Mapping[str, Any]) -> OpenByPolicy | None:
        """The open mail where a policy allows it. A digest's parents have many senders, so none of theirs counts."""
        if _allows(recipient):
            return OpenByPolicy(await self._relayed(work), "recipient")
        if work.facts.get("waiver") == DIGEST:
            return None
        rows = await self._client.query("sender_policy", principal=work.principal)
        return OpenByPolicy(await self._relayed(work), "sender") if any(map(_allows, rows)) else None

    async def _sealed(self, work: Work, recipient: Mapping[str, Any]) -> Sealed | Unusable:
        if not recipient:
            return Unusable("the recipient is not enrolled")
        if recipient["certificate"] is None:
            return Unusable("the recipient has no certificate")
        wish = recipient.get("policy", {}).get("sealing")
        methods = sorted(METHODS, key=lambda method: method != wish)
        return await asyncio.to_thread(self._enclose, work, bytes.fromhex(recipient["certificate"]), methods)

    async def _relayed(self, work: Work) -> bytes:
        return self._relay(work) if len(work.body) <= SMALL else await asyncio.to_thread(self._relay, work)

    def _relay(self, work: Work) -> bytes:
        outside, raw, note = self._outside(work), self._content.unseal(work.body), self._note(work)
        mail = relay(self._mail(work, raw, outside), outside, note.fields if note else ())
        relayed = split(mail)
        message_id = relayed.first("message-id").decode(errors="replace") if relayed else outside.message_id
        is_ours = "notice" in work.facts or work.facts.get("waiver") == DIGEST
        return self._envelope(work, raw, outside, message_id, mail, is_ours=is_ours)

    def _enclose(self, work: Work, certificates: bytes, methods: Sequence[Method]) -> Sealed | Unusable:
        outside = self._outside(work)
        now = datetime.fromtimestamp(self._clock(), UTC)
        certificate = choose(self._content.unseal(certificates), outside.rcpt_to, now, methods)
        if isinstance(certificate, Unusable):
            return certificate
        raw, note = self._content.unseal(work.body), self._note(work)
        if work.facts.get("waiver") == DIGEST:
            outside = replace(outside, more=_unsubscribing(raw))
        outside, inside = self._answerable(work, outside, self._mail(work, raw, outside))
        if not isinstance(certificate, x509.Certificate):
            mail = sealed.enclose(inside, outside, certificate, self._signer, note)
            return Sealed(self._envelope(work, raw, outside, outside.message_id, mail, is_ours=True), "openpgp")
        if self._smime_signer is None:
            return Unusable("the gateway has no key for S/MIME")
        mail = smime.enclose(inside, outside, certificate, self._smime_signer, note)
        return Sealed(self._envelope(work, raw, outside, outside.message_id, mail, is_ours=True), "smime")

    def _answerable(self, work: Work, outside: Outside, mail: bytes) -> tuple[Outside, bytes]:
        """With an address of ours for answers, outside and inside, where there is somebody to answer: then whoever
        answers has seen the mail, and we learn of it."""
        goes_to = answered_at(mail, work.facts, self._mail_from)
        if not goes_to:
            return outside, mail
        address = self._returns.make("reply", work.id)
        return replace(outside, reply_to=address), answered_through(mail, address, goes_to)

    def _mail(self, work: Work, raw: bytes, outside: Outside) -> bytes:
        """The mail as it came, without what the intake noted above it for us alone, and without Authentication-Results
        in our name but those that we have written."""
        came = without_return_path(without_envelope(raw))
        mail, results = without_forged(came, outside.domain), work.facts.get("results")
        return self._content.unseal(b64decode(results)) + mail if results else mail

    def _outside(self, work: Work) -> Outside:
        address = self._content.unseal(work.address).decode()
        accepted_at, is_automatic = datetime.fromtimestamp(work.accepted_at, UTC), work.facts.get("notice") != "answer"
        return Outside(format_id(work.id), self._mail_from, address, accepted_at, is_automatic=is_automatic)

    def _envelope(
        self, work: Work, raw: bytes, outside: Outside, message_id: str, mail: bytes, *, is_ours: bool
    ) -> bytes:
        """`is_ours`: our own name stands in From, and nobody else's words outside.

        What comes back names the notification; a report of ours never does (RFC 3464 section 2).
        """
        is_report = work.facts.get("notice") in REPORTS
        origin = origin_of(raw, work.facts, outside.rcpt_to, self._mail_from, self._lookup)
        head = {
            "mail_from": "" if is_report else self._returns.make("bounce", work.id),
            "rcpt_to": outside.rcpt_to,
            "message_id": message_id,
            "is_ours": is_ours,
            "origin": None if origin is None else origin.tree(),
        }
        return self._delivery.seal(json.dumps(head).encode() + b"\n" + mail)


def _unsubscribing(digest: bytes) -> Fields:
    """A digest's fields by which its reader asks for fewer: mail programs look for them outside (RFC 8058)."""
    mail = split(digest)
    names = ("List-Unsubscribe", "List-Unsubscribe-Post")
    found = ((name, mail.first(name.lower()).decode("ascii", "replace")) for name in names) if mail else ()
    return tuple(field for field in found if field[1])


def _allows(row: Mapping[str, Any]) -> bool:
    return row.get("policy", {}).get("open") is True
