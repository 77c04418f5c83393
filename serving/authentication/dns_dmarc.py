"""DMARC: what a domain asks of its mail, and which other domains count as its own (RFC 9989, before it RFC 7489).

The organizational domain is found by walking up the DNS, not in a list of public suffixes, which would have to be kept
new. Where nobody in the walk has a record, only the very same domain is aligned.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from serving.addresses import is_within
from serving.authentication.resolver import RecordKind, Resolver

MOST_LABELS = 8
LONGEST_RECORD = 4096

_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")


class Request(IntEnum):
    """What is to become of mail that fails, in the order of severity."""

    NONE = 0
    QUARANTINE = 1
    REJECT = 2


@dataclass(frozen=True, slots=True)
class Record:
    """The DMARC record of a domain; tags and values are lower-case."""

    domain: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a From domain asks for: `request` is None where neither it nor its organization has a record."""

    domain: str
    organization: str
    request: Request | None
    is_dkim_strict: bool = False
    is_spf_strict: bool = False


async def find_policy(domain: str, resolver: Resolver) -> Policy:
    """The policy for a From domain (RFC 9989 section 4.10.1). Raises Temporary where the DNS does not answer."""
    records = await _walk(domain, resolver)
    organization = _organization(domain, records)
    named = {record.domain: record for record in records}
    record = named.get(domain) or named.get(organization) or next(reversed(records), None)
    if record is None:
        return Policy(domain, organization, None)
    request = await _request(record, domain, resolver)
    strict = {name for name in ("adkim", "aspf") if record.tags.get(name) == "s"}
    return Policy(domain, organization, request, "adkim" in strict, "aspf" in strict)


async def is_aligned(candidate: str, policy: Policy, resolver: Resolver, *, is_strict: bool) -> bool:
    """Whether a proven domain speaks for the From domain (section 4.10.2). Raises Temporary."""
    if candidate == policy.domain:
        return True
    if is_strict or not is_within(candidate, policy.organization):
        return False
    return _organization(candidate, await _walk(candidate, resolver)) == policy.organization


async def _walk(domain: str, resolver: Resolver) -> list[Record]:
    """The records on the way from the domain to the root, lowest first, at most eight questions (section 4.10)."""
    found = []
    for name in _steps(domain):
        record = await _record(name, resolver)
        if record:
            found.append(record)
            if record.tags.get("psd") in ("n", "y"):
                break
    return found


def _steps(domain: str) -> list[str]:
    labels = domain.split(".")
    first = max(1, len(labels) - MOST_LABELS + 1)
    return [domain, *(".".join(labels[start:]) for start in range(first, len(labels)))]


async def _record(domain: str, resolver: Resolver) -> Record | None:
    """The one record of a domain; several count as none."""
    texts = await resolver.records(f"_dmarc.{domain}", RecordKind.TXT)
    valid = [text for text in texts if _VERSION.match(text) and len(text) <= LONGEST_RECORD]
    if len(valid) != 1:
        return None
    pairs = (part.partition("=") for part in valid[0].split(";"))
    return Record(domain, {name.strip().lower(): value.strip().lower() for name, _, value in pairs})


def _organization(domain: str, records: Sequence[Record]) -> str:
    for record in records:
        if record.tags.get("psd") == "n":
            return record.domain
        if record.tags.get("psd") == "y" and record.domain != domain:
            below = domain.removesuffix(f".{record.domain}").rpartition(".")[2]
            return f"{below}.{record.domain}"
    return records[-1].domain if records else domain


async def _request(record: Record, domain: str, resolver: Resolver) -> Request:
    """What the record asks for this domain; one step less while its owner is testing (t=y, before it pct=)."""
    asked = _wish(record, "p") or Request.NONE
    if record.domain != domain:
        below = _wish(record, "sp")
        asked = asked if below is None else below
        missing = _wish(record, "np")
        if missing is not None and missing != asked and not await _exists(domain, resolver):
            asked = missing
    is_testing = record.tags.get("t") == "y" or record.tags.get("pct", "100") != "100"
    return Request(max(0, asked - 1)) if is_testing else asked


def _wish(record: Record, tag: str) -> Request | None:
    return Request.__members__.get(record.tags.get(tag, "").upper())


async def _exists(domain: str, resolver: Resolver) -> bool:
    for kind in (RecordKind.A, RecordKind.AAAA, RecordKind.MX):
        if await resolver.records(domain, kind):
            return True
    return False
