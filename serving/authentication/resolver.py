"""The DNS behind one question: what a name holds, nothing, or an answer that did not come."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import dns.asyncresolver
import dns.exception
import dns.resolver

from serving.errors import Temporary

REMEMBERED = 10_000
"""Answers that are kept for as long as their owners allow."""


class RecordKind(StrEnum):
    """The types of records that mail authentication asks for."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    PTR = "PTR"
    TXT = "TXT"


class Resolver(Protocol):
    """Whom mail authentication asks."""

    async def records(self, name: str, kind: RecordKind, /) -> tuple[str, ...]:
        """What the name holds, () where there is no such name or record.

        An address is in its usual form, an MX is `10 mail.example`, a name has no last dot. A TXT is its strings
        joined, octets beyond ASCII as surrogate escapes.

        Raises:
            Temporary: no answer in time, or one that says that the server failed.
        """


class DnsResolver:
    """A `Resolver` over the name servers given, or those of this machine."""

    def __init__(self, servers: Sequence[str] = (), *, port: int = 53, timeout: float = 5.0) -> None:
        """`timeout` is seconds for one question, whatever number of servers is asked."""
        self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            self._resolver.nameservers = list(servers)
            self._resolver.port = port
        self._resolver.cache = dns.resolver.LRUCache(REMEMBERED)
        self._timeout = timeout

    async def records(self, name: str, kind: RecordKind, /) -> tuple[str, ...]:
        """See `Resolver.records`."""
        try:
            answer = await self._resolver.resolve(name, kind.value, lifetime=self._timeout, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.YXDOMAIN):
            return ()
        except (dns.exception.Timeout, dns.resolver.NoNameservers, OSError):
            raise Temporary("the DNS does not answer; it is asked again later") from None
        except (dns.exception.DNSException, UnicodeError, ValueError):
            return ()  # what cannot be asked is no name
        return tuple(_text(record, kind) for record in answer)


class Inquiry:
    """A `Resolver` for one verdict: nothing is asked twice, and nothing after the deadline (the loop's time)."""

    def __init__(self, resolver: Resolver, deadline: float) -> None:
        self._resolver = resolver
        self._deadline = deadline
        self._known: dict[tuple[str, RecordKind], tuple[str, ...]] = {}

    async def records(self, name: str, kind: RecordKind, /) -> tuple[str, ...]:
        """See `Resolver.records`."""
        question = (name.lower().rstrip("."), kind)
        if question not in self._known:
            self._known[question] = await self._ask(*question)
        return self._known[question]

    async def _ask(self, name: str, kind: RecordKind) -> tuple[str, ...]:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._resolver.records(name, kind)
        except TimeoutError:
            raise Temporary("the time for the DNS is over; it is asked again later") from None


def _text(record: Any, kind: RecordKind) -> str:
    match kind:
        case RecordKind.TXT:
            return b"".join(record.strings).decode("ascii", "surrogateescape")
        case RecordKind.MX:
            return f"{record.preference} {record.exchange.to_text(omit_final_dot=True)}"
        case RecordKind.PTR:
            return str(record.target.to_text(omit_final_dot=True))
        case RecordKind.A | RecordKind.AAAA:
            return str(record.address)
