"""What the DNS says of a domain's mail servers: there is no such domain, nothing, names, or no answer."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import dns.asyncresolver
import dns.exception
import dns.resolver

from serving.errors import Temporary

REMEMBERED = 10_000
SHORTEST, LONGEST = 5.0, 86_400.0
"""An answer is kept for as long as its owner says, within these seconds."""

_NO_ANSWER = (dns.exception.Timeout, dns.resolver.NoNameservers, OSError)


class Exchanger(NamedTuple):
    """An MX record; `host` in lower case without its last dot, "." where the domain takes no mail (RFC 7505)."""

    preference: int
    host: str


class Names(Protocol):
    """Whom routing asks. Raises Temporary where no answer comes in time, or one that says that the server failed."""

    async def exchangers(self, domain: str, /) -> tuple[Exchanger, ...] | None:
        """The domain's MX records, () where it has none, None where there is no such domain."""

    async def addresses(self, host: str, /) -> tuple[str, ...]:
        """The host's IPv6 and IPv4 addresses in turn, () where it has none."""


class DnsNames:
    """`Names` over the name servers given, or those of this machine."""

    def __init__(self, servers: Sequence[str] = (), *, port: int = 53, timeout: float = 5.0) -> None:
        """`timeout` is seconds for one question, whatever number of servers is asked."""
        self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            self._resolver.nameservers = list(servers)
            self._resolver.port = port
        self._resolver.cache = _Cache(REMEMBERED)
        self._timeout = timeout

    async def exchangers(self, domain: str, /) -> tuple[Exchanger, ...] | None:
        """See `Names.exchangers`."""
        records = await self._ask(domain, "MX")
        if records is None:
            return None
        return tuple(
            Exchanger(record.preference, record.exchange.to_text(omit_final_dot=True).lower()) for record in records
        )

    async def addresses(self, host: str, /) -> tuple[str, ...]:
        """See `Names.addresses`; one family that is not answered does not hide the other."""
        found: list[list[str]] = []
        silent: Temporary | None = None
        for kind in ("AAAA", "A"):
            try:
                found.append([str(record.address) for record in await self._ask(host, kind) or ()])
            except Temporary as temporary:
                silent = temporary
        addresses = _in_turn(found)
        if silent is not None and not addresses:
            raise silent
        return addresses

    async def _ask(self, name: str, kind: str) -> Sequence[Any] | None:
        try:
            return list(await self._resolver.resolve(f"{name}.", kind, lifetime=self._timeout, search=False))
        except dns.resolver.NXDOMAIN:
            return None
        except dns.resolver.NoAnswer:
            return ()
        except _NO_ANSWER:
            raise Temporary("the DNS does not answer; it is asked again later") from None
        except (dns.exception.DNSException, UnicodeError, ValueError):
            return None  # what cannot be asked is no name


class _Cache(dns.resolver.LRUCache):
    """A time of nothing would ask for every mail, one of a year would never see a move."""

    def put(self, key: Any, value: dns.resolver.Answer) -> None:
        now = time.time()
        value.expiration = min(max(value.expiration, now + SHORTEST), now + LONGEST)
        super().put(key, value)


def _in_turn(families: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """One of each family after the other: where one is cut off, the second try is of the other."""
    longest = max(map(len, families), default=0)
    return tuple(family[place] for place in range(longest) for family in families if place < len(family))
