"""MTA-STS (RFC 8461): a domain says over HTTPS which mail servers it has and that they have TLS to be verified."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import aiodns
from postfix_mta_sts_resolver.internal_cache import InternalLRUCache  # type: ignore[import-untyped]
from postfix_mta_sts_resolver.resolver import STSFetchResult, STSResolver  # type: ignore[import-untyped]

REMEMBERED = 10_000
FRESH = 3600.0
"""Seconds after which the DNS is asked whether a domain's policy has changed, or whether it has one by now."""


class Policies(Protocol):
    """Who knows the domains' policies."""

    async def enforced(self, domain: str, /) -> Collection[str] | None:
        """The names of servers that may have the domain's mail, None where it has no policy that is to be enforced."""


class Fetcher(Protocol):
    """The library's resolver."""

    async def resolve(self, domain: str, last_known_id: str | None = None) -> tuple[STSFetchResult, Any]:
        """The state of the domain's policy, and (id, policy) where a new one is valid."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found; `body` is None where the domain has no policy."""

    checked_at: float
    fetched_at: float
    id: str | None = None
    body: dict[str, Any] | None = None

    def holds(self, now: float) -> bool:
        return self.body is not None and now < self.fetched_at + self.body["max_age"]


class StsPolicies:
    """`Policies` by a fetcher, in memory. A policy once known holds until its own end, also where it cannot be found
    any more (section 5.1), since whoever can cut us off from it could else strike it out."""

    def __init__(self, fetcher: Fetcher, clock: Callable[[], float] = time.time) -> None:
        """`clock` is seconds since the epoch."""
        self._fetcher = fetcher
        self._clock = clock
        self._known = InternalLRUCache(REMEMBERED)

    async def enforced(self, domain: str, /) -> Collection[str] | None:
        """See `Policies.enforced`. Mode `testing` counts as none: there is nobody here to send its reports."""
        now = self._clock()
        known: _Known = await self._known.get(domain) or _Known(-FRESH, 0.0)
        if now - known.checked_at >= FRESH:
            known = await self._checked(domain, known, now)
            await self._known.set(domain, known)
        if known.body is None or not known.holds(now) or known.body["mode"] != "enforce":
            return None
        return [name.lower().rstrip(".") for name in known.body["mx"]]

    async def _checked(self, domain: str, known: _Known, now: float) -> _Known:
        last = known.id if known.holds(now) else None
        state, found = await self._fetcher.resolve(domain, last)
        if state is STSFetchResult.VALID:
            return _Known(now, now, *found)
        if state is STSFetchResult.NOT_CHANGED:
            return _Known(now, now, known.id, known.body)
        return _Known(now, known.fetched_at, known.id, known.body)


def covers(names: Collection[str], host: str) -> bool:
    """Whether a policy's names allow the host; `*.` stands for one label (section 4.1)."""
    return host in names or f"*.{host.partition('.')[2]}" in names


def fetcher(servers: Sequence[str] = (), *, port: int = 53, timeout: float = 5.0) -> Fetcher:
    """The library's resolver over the name servers given, or those of this machine; made where the loop runs."""
    logging.getLogger("RES").setLevel(logging.CRITICAL)  # it would log the domains of recipients
    resolver: Fetcher = STSResolver(timeout=timeout, loop=asyncio.get_running_loop())
    if servers:
        named = [f"[{server}]:{port}" if ":" in server else f"{server}:{port}" for server in servers]
        resolver._resolver = aiodns.DNSResolver(nameservers=named, timeout=timeout)  # type: ignore[attr-defined]
    return resolver
