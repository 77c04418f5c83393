"""One signature of a mail: read, refused for what makes it no proof, and checked (RFC 6376, RFC 8617).

dkimpy does the header's canonicalization and the arithmetic. What it lets through, or takes unbounded time for, is
refused before: a From that is not signed, SHA-1, l=, weak and monstrous keys, long fields.
"""

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dkim  # type: ignore[import-untyped]
from dkim.util import InvalidTagValueList, parse_tag_value  # type: ignore[import-untyped]

from serving.addresses import canonical_domain
from serving.authentication.dns_key import Key, is_selector
from serving.authentication.mail_body import Body
from serving.authentication.mail_finding import Flaw, Result
from serving.mail import Field

LARGEST_SIGNATURE = 8192
LONGEST_SPACE = 100
MOST_SIGNED_FIELDS = 200
MOST_FIELDS = 2000
LARGEST_BODY = 25 << 20
CLOCK_SKEW = 300
DKIM_TAGS = frozenset({b"v", b"a", b"b", b"bh", b"d", b"h", b"s"})

_ONCE = (
    *("subject", "date", "to", "cc", "reply-to", "sender", "message-id"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)
_LONG_SPACE = re.compile(rb"[\t\r\n\v\f ]{%d}" % (LONGEST_SPACE + 1))
_NUMBER = re.compile(rb"[0-9]{1,20}")
_CANONICALIZATION = re.compile(rb"(?:simple|relaxed)(?:/(?:simple|relaxed))?")


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature whose form is right. `tags` are without white space; `names` are what h= lists, lower-case."""

    field: tuple[bytes, bytes]
    tags: Mapping[bytes, bytes]
    domain: str
    selector: str
    names: tuple[bytes, ...]

    @property
    def is_body_relaxed(self) -> bool:
        """How the body is hashed; simple where c= names only the header's way (RFC 6376 section 3.5)."""
        return self.tags.get(b"c", b"").endswith(b"/relaxed")


def read_signature(field: Field, required: frozenset[bytes] = DKIM_TAGS) -> Signature | Flaw:
    """The signature in a field, or why it can be none."""
    if len(field.octets) > LARGEST_SIGNATURE or _LONG_SPACE.search(field.octets):
        return Flaw(Result.POLICY, "the signature is too long")
    try:
        tags = {name: b"".join(value.split()) for name, value in parse_tag_value(field.value).items()}
    except InvalidTagValueList:
        return Flaw(Result.NEUTRAL, "the signature cannot be read")
    if not required <= {name for name, value in tags.items() if value}:
        return Flaw(Result.NEUTRAL, "the signature lacks a tag")
    domain = canonical_domain(tags[b"d"].decode(errors="replace"))
    selector = tags[b"s"].decode(errors="replace")
    if domain is None or not is_selector(selector):
        return Flaw(Result.NEUTRAL, "the signature names no domain or no selector")
    names = tuple(name.lower() for name in tags.get(b"h", b"").split(b":"))
    return _flaw_of(tags, names) or Signature(_as_dkimpy_reads(field), tags, domain, selector, names)


def flaw_of_use(signature: Signature, fields: Sequence[Field], body: Body, now: float) -> Flaw | None:
    """Why this signature proves nothing of this mail, whatever its arithmetic says; the body's digest among it."""
    if len(fields) > MOST_FIELDS or body.length > LARGEST_BODY:
        return Flaw(Result.POLICY, "the mail is too large")
    if sum(field.name == "from" for field in fields) != 1:
        return Flaw(Result.PERMERROR, "not one From")
    if b"from" not in signature.names:
        return Flaw(Result.PERMERROR, "From is not signed")
    if b"x" in signature.tags and int(signature.tags[b"x"]) + CLOCK_SKEW < now:
        return Flaw(Result.POLICY, "the signature has expired")
    return _flaw_of_body(signature, body)


def flaw_of_cover(signature: Signature, fields: Sequence[Field]) -> Flaw | None:
    """Why a genuine signature does not vouch for what a reader sees: a Subject that it leaves out, or a second field
    where there may be one, which whoever hands the mail on can put above the signed one (RFC 6376 section 8.15)."""
    counts = Counter(field.name for field in fields)
    if any(counts[name] > 1 for name in _ONCE):
        return Flaw(Result.POLICY, "a field that may be there once is there twice")
    if counts["subject"] and b"subject" not in signature.names:
        return Flaw(Result.POLICY, "Subject is not signed")
    return None


def is_signed(signature: Signature, fields: Sequence[Field], names: Sequence[bytes], key: Key) -> bool:
    """Whether the key made this signature over these fields."""
    if not signature.tags[b"a"].startswith(f"{key.algorithm}-".encode()):
        return False
    checker = dkim.DomainSigner(minkey=0)
    checker.headers = [_as_dkimpy_reads(field) for field in fields]
    checker.pk, checker.keysize, checker.ktag = key.public, key.bits, key.algorithm.encode()
    tags = {name: signature.tags[name] for name in (b"a", b"b", b"c") if name in signature.tags}
    try:
        return bool(checker.verify_sig_process(tags, list(names), signature.field, None))
    except Exception:  # what is no signature breaks dkimpy in more ways than it documents
        return False


def _flaw_of(tags: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> Flaw | None:
    if tags[b"a"] == b"rsa-sha1":
        return Flaw(Result.POLICY, "SHA-1 is no proof")  # RFC 8301
    if tags[b"a"] not in (b"rsa-sha256", b"ed25519-sha256") or tags.get(b"v", b"1") != b"1":
        return Flaw(Result.NEUTRAL, "the signature is of an unknown kind")
    if not _CANONICALIZATION.fullmatch(tags.get(b"c", b"simple")) or b"dns/txt" not in tags.get(b"q", b"dns/txt"):
        return Flaw(Result.NEUTRAL, "the signature is of an unknown kind")
    if any(not _NUMBER.fullmatch(tags[name]) for name in (b"l", b"t", b"x") if name in tags):
        return Flaw(Result.NEUTRAL, "the signature cannot be read")
    if len(names) > MOST_SIGNED_FIELDS:
        return Flaw(Result.POLICY, "the signature lists too many fields")
    return None


def _flaw_of_body(signature: Signature, body: Body) -> Flaw | None:
    found = body.digest(is_relaxed=signature.is_body_relaxed)
    if b"l" in signature.tags and int(signature.tags[b"l"]) != found.length:
        return Flaw(Result.POLICY, "l= does not cover the body")
    try:
        claimed = base64.b64decode(signature.tags[b"bh"], validate=True)
    except ValueError:
        return Flaw(Result.NEUTRAL, "the signature cannot be read")
    return None if claimed == found.digest else Flaw(Result.FAIL, "the body was altered")


def _as_dkimpy_reads(field: Field) -> tuple[bytes, bytes]:
    """Name and value; a field's name never ends in a blank, lest one reader find a From where another does not."""
    name, _, value = field.octets.partition(b":")
    return name.rstrip(b"\t "), value + b"\r\n"
