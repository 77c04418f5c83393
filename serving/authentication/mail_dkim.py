"""DKIM: a finding for each signature that is looked at (RFC 6376, RFC 8301, RFC 8463)."""

import asyncio
from collections.abc import Sequence

from serving.addresses import canonical_domain, is_within
from serving.authentication.dns_key import Key, fetch_key
from serving.authentication.mail_body import Body
from serving.authentication.mail_finding import Finding, Flaw, Method, Result
from serving.authentication.mail_signature import Signature, flaw_of_cover, flaw_of_use, is_signed, read_signature
from serving.authentication.resolver import Resolver
from serving.mail import Field

MOST_SIGNATURES = 5
MOST_READ = 50

Known = tuple[Signature | Flaw, Key | Flaw]


async def check_dkim(
    fields: Sequence[Field], body: Body, sender: str | None, resolver: Resolver, now: float
) -> tuple[Finding, ...]:
    """The findings, those whose domain is akin to the `sender`'s first; one of `none` where nothing is signed."""
    signed = [field for field in fields if field.name == "dkim-signature"]
    if not signed:
        return (Finding(Method.DKIM, Result.NONE),)
    read = sorted(map(read_signature, signed[:MOST_READ]), key=lambda signature: not _is_akin(signature, sender))
    looked_at = read[:MOST_SIGNATURES]
    keys = await asyncio.gather(*(_key_of(signature, resolver) for signature in looked_at))
    found = await asyncio.to_thread(_check, fields, body, list(zip(looked_at, keys, strict=True)), now)
    return (*found, *_left_out(len(signed) - len(looked_at)))


def _is_akin(signature: Signature | Flaw, sender: str | None) -> bool:
    """Whether the signature could be aligned with From; those that a stranger put on top must not hide it."""
    if isinstance(signature, Flaw) or sender is None:
        return False
    return is_within(signature.domain, sender) or is_within(sender, signature.domain)


async def _key_of(signature: Signature | Flaw, resolver: Resolver) -> Key | Flaw:
    if isinstance(signature, Flaw):
        return signature
    return await fetch_key(signature.domain, signature.selector, resolver)


def _check(fields: Sequence[Field], body: Body, known: Sequence[Known], now: float) -> list[Finding]:
    return [_finding(fields, body, signature, key, now) for signature, key in known]


def _finding(fields: Sequence[Field], body: Body, signature: Signature | Flaw, key: Key | Flaw, now: float) -> Finding:
    if isinstance(signature, Flaw):
        return Finding(Method.DKIM, signature.result, signature.reason)
    flaw = key if isinstance(key, Flaw) else _flaw(fields, body, signature, key, now)
    names = () if flaw else signature.names
    flaw = flaw or flaw_of_cover(signature, fields)
    result, reason = (flaw.result, flaw.reason) if flaw else (Result.PASS, "")
    return Finding(Method.DKIM, result, reason, signature.domain, signature.selector, signed=names)


def _flaw(fields: Sequence[Field], body: Body, signature: Signature, key: Key, now: float) -> Flaw | None:
    flaw = _flaw_of_identity(signature, key) or flaw_of_use(signature, fields, body, now)
    if flaw is None and not is_signed(signature, fields, signature.names, key):
        return Flaw(Result.FAIL, "the signature does not verify")
    return flaw


def _flaw_of_identity(signature: Signature, key: Key) -> Flaw | None:
    """RFC 6376 section 6.1.1: i= lies in d=, and is d= itself where the key says so (t=s)."""
    if b"i" not in signature.tags:
        return None
    identity = canonical_domain(signature.tags[b"i"].decode(errors="replace").rpartition("@")[2])
    if identity is None or not is_within(identity, signature.domain):
        return Flaw(Result.PERMERROR, "i= lies outside d=")
    if key.is_strict and identity != signature.domain:
        return Flaw(Result.PERMERROR, "the key is not for domains below its own")
    return None


def _left_out(count: int) -> tuple[Finding, ...]:
    reason = f"only {MOST_SIGNATURES} signatures are looked at"
    return (Finding(Method.DKIM, Result.POLICY, reason),) if count else ()
