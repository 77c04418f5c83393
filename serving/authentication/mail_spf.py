"""SPF: whether the machine that brought the mail may send for MAIL FROM or, where that is empty, HELO (RFC 7208).

pyspf evaluates and keeps RFC 7208's limits. It cannot wait, so it is run on what is known, stops at the first thing
that is not, and is run again when the DNS has told it.
"""

import asyncio
import ipaddress
from typing import Any

import spf  # type: ignore[import-untyped]

from serving.addresses import canonical_domain
from serving.authentication.mail_finding import Finding, Method, Result
from serving.authentication.resolver import RecordKind, Resolver
from serving.errors import Temporary
from serving.trace import LONGEST_PATH, Trace

MOST_QUESTIONS = 150  # ten mechanisms, each of ten names at most, and the records that hold them
MOST_HOSTS = 10
MOST_ADDRESSES = 50
LONGEST_RECORD = 4096

Question = tuple[str, RecordKind]


async def check_spf(trace: Trace, resolver: Resolver) -> Finding:
    """The finding for MAIL FROM, or for HELO where MAIL FROM is empty; `none` where too little is known."""
    is_helo = trace.mail_from == ""
    local, domain = _identity(trace)
    if domain is None or trace.client_ip is None or not _is_address(trace.client_ip):
        return Finding(Method.SPF, Result.NONE, "nothing to check", domain or "", is_helo=is_helo)
    result, reason = await _evaluated(trace.client_ip, local, domain, trace.helo or "", resolver)
    return Finding(Method.SPF, result, reason, domain, is_helo=is_helo)


def _identity(trace: Trace) -> tuple[str, str | None]:
    """Local part and domain of who is checked (RFC 7208 section 2.4)."""
    path = trace.mail_from
    if path is None or len(path) > LONGEST_PATH or len(trace.helo or "") > LONGEST_PATH:
        return "", None
    local, _, domain = path.rpartition("@") if path else ("postmaster", "", trace.helo or "")
    return local or "postmaster", canonical_domain(domain)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def _evaluated(client: str, local: str, domain: str, helo: str, resolver: Resolver) -> tuple[Result, str]:
    known: dict[Question, tuple[str, ...]] = {}
    while len(known) <= MOST_QUESTIONS:
        outcome = await asyncio.to_thread(_run, client, local, domain, helo, known)
        if not isinstance(outcome, _Missing):
            return outcome
        try:
            known |= await _answers(outcome, resolver)
        except Temporary:
            return Result.TEMPERROR, "the DNS does not answer"
    return Result.PERMERROR, "the record asks for too much"


async def _answers(missing: "_Missing", resolver: Resolver) -> dict[Question, tuple[str, ...]]:
    """The answer, and those that pyspf wants after it: the addresses of all hosts of an MX or PTR. Raises Temporary."""
    name, kind = missing.question
    found = await resolver.records(name, kind)
    hosts = [record.rpartition(" ")[2].lower() for record in found] if kind in (RecordKind.MX, RecordKind.PTR) else []
    questions = [(host, missing.address_kind) for host in hosts[:MOST_HOSTS] if _is_name(host)]
    answers = await asyncio.gather(*(resolver.records(*question) for question in questions))
    return {missing.question: found, **dict(zip(questions, answers, strict=True))}


def _run(
    client: str, local: str, domain: str, helo: str, known: dict[Question, tuple[str, ...]]
) -> "tuple[Result, str] | _Missing":
    """The result with what is known of the DNS, or what has to be known first."""
    try:
        evaluation = _Evaluation(client, f"{local}@{domain}", helo, known)
        evaluation.l, evaluation.o, evaluation.d = local, domain, domain  # pyspf splits at the first @, quoted or not
        result = Result(evaluation.check()[0])
    except _Missing as missing:
        return missing
    except Exception:  # hostile records break pyspf in more ways than it documents
        return Result.PERMERROR, "the record cannot be read"
    return result, "the record cannot be used" if result is Result.PERMERROR else ""


class _Missing(Exception):
    """The DNS has to be asked before the evaluation can go on."""

    def __init__(self, question: Question, address_kind: RecordKind) -> None:
        super().__init__()
        self.question = question
        self.address_kind = address_kind


class _Evaluation(spf.query):  # type: ignore[misc]
    """pyspf's query, which finds what is known instead of asking."""

    def __init__(self, client: str, sender: str, helo: str, known: dict[Question, tuple[str, ...]]) -> None:
        super().__init__(client, sender, helo, strict=True)
        self._answers = known

    def dns(self, name: str, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:  # noqa: ARG002
        """The records as pyspf wants them; one that finds none is a void lookup (section 4.6.4)."""
        question = (str(name).rstrip(".").lower(), RecordKind(qtype))
        found = self._answers.get(question) if _is_name(question[0]) else ()
        if found is None:
            raise _Missing(question, RecordKind(self.A))
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("too many void lookups")
        if question[1] in (RecordKind.A, RecordKind.AAAA) and len(found) > MOST_ADDRESSES:
            raise spf.PermError("too many addresses")
        return [_as_pyspf_reads(record, question[1]) for record in found]

    def get_explanation(self, spec: str) -> None:  # noqa: ARG002
        """None: what a domain has to say of a failure is not asked for."""
        return


def _is_name(name: str) -> bool:
    return len(name) <= 253 and all(0 < len(label) < 64 for label in name.split("."))


def _as_pyspf_reads(record: str, kind: RecordKind) -> Any:
    """Raises spf.PermError where pyspf would read for a long time."""
    if kind is RecordKind.MX:
        preference, _, host = record.partition(" ")
        return int(preference), host
    if kind is not RecordKind.TXT:
        return record
    if record[:6].lower() == "v=spf1" and len(record) > LONGEST_RECORD:
        raise spf.PermError("the record is too long")
    return (record.encode("ascii", "surrogateescape"),)
