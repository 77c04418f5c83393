"""ARC: whether a chain of relays vouches for what it found when the mail was whole (RFC 8617).

A chain vouches only where every seal is of a relay that the caller trusts: anybody can make a chain that is valid.
"""

import asyncio
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import authres  # type: ignore[import-untyped]

from serving.addresses import canonical_domain
from serving.authentication.dns_key import Key, fetch_key
from serving.authentication.mail_body import Body
from serving.authentication.mail_finding import Finding, Flaw, Method, Result
from serving.authentication.mail_signature import (
    LARGEST_SIGNATURE,
    Signature,
    flaw_of_cover,
    flaw_of_use,
    is_signed,
    read_signature,
)
from serving.authentication.resolver import Resolver
from serving.mail import Field

MOST_LINKS = 10
RESULTS, MESSAGE, SEAL = NAMES = "arc-authentication-results", "arc-message-signature", "arc-seal"
MESSAGE_TAGS = frozenset({b"i", b"a", b"b", b"bh", b"d", b"h", b"s"})
SEAL_TAGS = frozenset({b"i", b"a", b"b", b"cv", b"d", b"s"})

_RESULTS = re.compile(rb"i[ \t]*=[ \t]*([0-9]{1,2})[ \t]*;(.*)", re.DOTALL)
_INSTANCE = re.compile(rb"[0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class Link:
    """What one relay added: its fields as they came, and its two signatures as they are read."""

    fields: tuple[Field, Field, Field]
    message: Signature
    seal: Signature


@dataclass(frozen=True, slots=True)
class Chain:
    """What is known of the chain: whether all its relays are trusted, and the From domains that they vouch for."""

    finding: Finding
    is_trusted: bool = False
    vouched: frozenset[str] = frozenset()


async def check_arc(
    fields: Sequence[Field], body: Body, trusted: Collection[str], resolver: Resolver, now: float
) -> Chain:
    """The chain's finding, and for whom it vouches."""
    links = _read_links([field for field in fields if field.name in NAMES])
    if isinstance(links, Flaw):
        return Chain(Finding(Method.ARC, links.result, links.reason))
    signatures = (links[-1].message, *(link.seal for link in links))
    keys = await asyncio.gather(*(fetch_key(each.domain, each.selector, resolver) for each in signatures))
    flaw = _flaw_of_keys(keys) or await asyncio.to_thread(_flaw_of, links, fields, body, keys, now)
    result, reason = (flaw.result, flaw.reason) if flaw else (Result.PASS, "")
    finding = Finding(Method.ARC, result, reason, links[-1].seal.domain, links[-1].seal.selector)
    is_trusted = all(link.seal.domain in trusted for link in links)
    return Chain(finding, is_trusted, _vouched(links[0].fields[0]) if is_trusted and not flaw else frozenset())


def _read_links(fields: Sequence[Field]) -> list[Link] | Flaw:
    """The links, oldest first, where their number and their cv= are right (RFC 8617 section 5.2, steps 1 to 3)."""
    if not fields:
        return Flaw(Result.NONE, "")
    if len(fields) > len(NAMES) * MOST_LINKS:
        return Flaw(Result.POLICY, "the chain is too long")
    known = {(field.name, _instance(field)): field for field in fields}
    count = len(fields) // len(NAMES)
    wanted = [(name, instance) for instance in range(1, count + 1) for name in NAMES]
    if len(fields) % len(NAMES) or set(known) != set(wanted):
        return Flaw(Result.FAIL, "the chain has holes")
    links = [_read_link(*(known[name, instance] for name in NAMES)) for instance in range(1, count + 1)]
    sound = [link for link in links if link is not None]
    if len(sound) < len(links):
        return Flaw(Result.FAIL, "the chain cannot be read")
    if [link.seal.tags[b"cv"] for link in sound] != [b"none"] + [b"pass"] * (count - 1):
        return Flaw(Result.FAIL, "a relay found the chain broken")
    return sound


def _instance(field: Field) -> int:
    """The i= of a field, 0 where there is none."""
    if len(field.octets) > LARGEST_SIGNATURE:
        return 0
    if field.name == RESULTS:
        match = _RESULTS.fullmatch(field.value)
        return int(match[1]) if match else 0
    signature = read_signature(field, frozenset({b"i", b"a", b"d", b"s"}))
    found = b"" if isinstance(signature, Flaw) else signature.tags[b"i"]
    return int(found) if _INSTANCE.fullmatch(found) else 0


def _read_link(results: Field, message: Field, seal: Field) -> Link | None:
    signed, sealed = read_signature(message, MESSAGE_TAGS), read_signature(seal, SEAL_TAGS)
    if isinstance(signed, Flaw) or isinstance(sealed, Flaw):
        return None
    if b"h" in sealed.tags or SEAL.encode() in signed.names:
        return None  # RFC 8617 sections 4.1.2 and 4.1.3
    return Link((results, message, seal), signed, sealed)


def _flaw_of_keys(keys: Sequence[Key | Flaw]) -> Flaw | None:
    flaws = [key for key in keys if isinstance(key, Flaw)]
    told = [flaw for flaw in flaws if flaw.result in (Result.TEMPERROR, Result.POLICY)]
    return next(iter(told), Flaw(Result.FAIL, flaws[0].reason) if flaws else None)


def _flaw_of(
    links: Sequence[Link], fields: Sequence[Field], body: Body, keys: Sequence[Key | Flaw], now: float
) -> Flaw | None:
    """Steps 4 and 6: the newest relay's signature of the mail, then every seal, newest first."""
    usable = [key for key in keys if isinstance(key, Key)]
    message = links[-1].message
    flaw = flaw_of_use(message, fields, body, now)
    if flaw:
        return flaw if flaw.result is Result.POLICY else Flaw(Result.FAIL, flaw.reason)
    if not is_signed(message, fields, message.names, usable[0]):
        return Flaw(Result.FAIL, "the mail was altered after the last relay")
    if cover := flaw_of_cover(message, fields):
        return cover
    for count in range(len(links), 0, -1):
        if not _is_sealed(links[:count], usable[count]):
            return Flaw(Result.FAIL, "a seal does not verify")
    return None


def _is_sealed(links: Sequence[Link], key: Key) -> bool:
    """Whether the last link's seal covers all links in their order (RFC 8617 section 5.1.1)."""
    seal = links[-1].seal
    covered = [field for link in links for field in link.fields][:-1]
    relaxed = replace(seal, tags={**seal.tags, b"c": b"relaxed/relaxed"})
    return is_signed(relaxed, covered[::-1], [field.name.encode() for field in covered], key)


def _vouched(results: Field) -> frozenset[str]:
    """The From domains that the relay says passed DMARC."""
    match = _RESULTS.fullmatch(results.value)
    text = match[2].decode("ascii", "replace") if match else ""
    try:
        read = authres.AuthenticationResultsHeader.parse(f"Authentication-Results: {text}")
    except Exception:  # what is no such field breaks the reader in more ways than it documents
        return frozenset()
    passed = [each for each in read.results if (each.method, each.result) == ("dmarc", "pass")]
    named = [(part.type, part.name, part.value) for each in passed for part in each.properties]
    domains = (canonical_domain(value) for kind, name, value in named if (kind, name) == ("header", "from"))
    return frozenset(domain for domain in domains if domain)
