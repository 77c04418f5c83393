"""The public key that a domain publishes for its signatures (RFC 6376 section 3.6, RFC 8301, RFC 8463)."""

import re
from dataclasses import dataclass
from typing import Any

import dkim  # type: ignore[import-untyped]
from dkim.util import InvalidTagValueList, parse_tag_value  # type: ignore[import-untyped]

from serving.authentication.mail_finding import Flaw, Result
from serving.authentication.resolver import RecordKind, Resolver
from serving.errors import Temporary

FEWEST_BITS = 1024
MOST_BITS = 4096
LARGEST_EXPONENT = 1 << 32
LONGEST_RECORD = 4096

_SELECTOR = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,10}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Key:
    """A usable key. `algorithm` is rsa or ed25519; `is_strict`: it signs for its own domain, not for those below."""

    algorithm: str
    bits: int
    public: Any
    is_strict: bool


def is_selector(text: str) -> bool:
    """Whether the text can be the s= of a signature (RFC 6376 section 3.1)."""
    return _SELECTOR.fullmatch(text) is not None


async def fetch_key(domain: str, selector: str, resolver: Resolver) -> Key | Flaw:
    """The key of that selector, or why there is none that counts."""
    try:
        records = await resolver.records(f"{selector}._domainkey.{domain}", RecordKind.TXT)
    except Temporary:
        return Flaw(Result.TEMPERROR, "the DNS does not answer for the key")
    if len(records) != 1:
        return Flaw(Result.PERMERROR, "several keys under one selector" if records else "no key for the signature")
    return read_key(records[0])


def read_key(record: str) -> Key | Flaw:
    """The key in a TXT record, or why it does not count."""
    if len(record) > LONGEST_RECORD:
        return Flaw(Result.PERMERROR, "the key record is too long")
    octets = record.encode("ascii", "surrogateescape")
    try:
        tags = {name: b"".join(value.split()) for name, value in parse_tag_value(octets).items()}
    except InvalidTagValueList:
        return Flaw(Result.PERMERROR, "the key record cannot be read")
    return _flaw_of(tags) or _parsed(tags)


def _flaw_of(tags: dict[bytes, bytes]) -> Flaw | None:
    if not tags.get(b"p"):
        return Flaw(Result.PERMERROR, "the key is revoked")
    if tags.get(b"k", b"rsa") not in (b"rsa", b"ed25519"):
        return Flaw(Result.PERMERROR, "the key is of an unknown kind")
    if not {b"*", b"email"} & set(tags.get(b"s", b"*").split(b":")):
        return Flaw(Result.PERMERROR, "the key is not for mail")
    if b"sha256" not in tags.get(b"h", b"sha256").split(b":"):
        return Flaw(Result.PERMERROR, "the key is not for SHA-256")
    return None


def _parsed(tags: dict[bytes, bytes]) -> Key | Flaw:
    needed = b";".join(name + b"=" + tags[name] for name in (b"v", b"k", b"p") if name in tags)
    try:
        public, bits, kind, _ = dkim.evaluate_pk(b"", needed)
    except Exception:  # a hostile key breaks the reader in more ways than it documents
        return Flaw(Result.PERMERROR, "the key cannot be read")
    if kind == b"rsa":
        exponent = public["publicExponent"]
        if not FEWEST_BITS <= bits <= MOST_BITS:
            return Flaw(Result.POLICY, f"the RSA key has fewer than {FEWEST_BITS} or more than {MOST_BITS} bits")
        if not 2 < exponent < LARGEST_EXPONENT or not exponent & public["modulus"] & 1:
            return Flaw(Result.PERMERROR, "the key cannot be read")
    return Key(kind.decode(), bits, public, b"s" in tags.get(b"t", b"").split(b":"))
