"""How much a caller may ask, and for how long an address that guesses is told to wait.

All of it is in this process's memory, bounded, and gone with it: a gateway of n workers allows n times as much.
"""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

MOST = 10_000
"""Principals, and addresses, that are remembered; those heard of longest ago are forgotten first."""
FAILURES, WINDOW = 10, 60.0
"""So many failed authentications of one address within so many seconds lock it."""
FIRST_LOCK, LONGEST_LOCK = 30.0, 900.0
"""Seconds; each lock is twice as long as the one before."""
FORGIVEN_AFTER = 3_600.0
"""Seconds without a failure after which an address starts afresh."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a principal's quota of `limit` requests in `window` seconds. `wait` is 0 where the request may
    pass, and otherwise the seconds until one may; `reset` is the seconds until more, or all, is there again."""

    limit: int
    window: int
    remaining: int
    reset: int
    wait: int

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4)."""
        return {
            "RateLimit-Policy": f'"requests";q={self.limit};w={self.window}',
            "RateLimit": f'"requests";r={self.remaining};t={self.reset}',
        }


class Rates:
    """A token bucket for each principal: `rate` requests a second in the long run, `burst` at once; a rate of 0 allows
    everything. `clock` is monotonic seconds."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = max(burst, 1)
        self._clock = clock
        self._buckets: _Recent[tuple[float, float]] = _Recent()

    def take(self, principal: str) -> Allowance | None:
        """Count a request of the principal; None where nothing is limited. One that must wait costs nothing."""
        if self._rate <= 0:
            return None
        now = self._clock()
        left, at = self._buckets.get(principal) or (float(self._burst), now)
        left = min(left + max(now - at, 0.0) * self._rate, float(self._burst))
        may_pass = left >= 1.0
        left -= 1.0 if may_pass else 0.0
        self._buckets.put(principal, (left, now))
        return self._allowance(left, may_pass=may_pass)

    def _allowance(self, left: float, *, may_pass: bool) -> Allowance:
        wait = 0 if may_pass else self._seconds(1.0 - left)
        reset = wait or self._seconds(self._burst - left)
        return Allowance(self._burst, self._seconds(self._burst), int(left), reset, wait)

    def _seconds(self, requests: float) -> int:
        return max(math.ceil(requests / self._rate), 1)


@dataclass(slots=True)
class _Guesser:
    """What an address did: failures since `since`, its last one, how many locks it had and until when."""

    since: float
    last: float
    failures: int = 0
    locks: int = 0
    until: float = 0.0


class Lockouts:
    """Which addresses failed too often. A lock ends by itself, and concerns failures alone: whoever comes with a good
    key passes, because others may share the address. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._guessers: _Recent[_Guesser] = _Recent()

    def failed(self, address: str) -> int:
        """Count a failed authentication; the seconds that the address has to wait, 0 where it is not locked.

        Failures while it is locked do not count, so that a lock always ends.
        """
        now, network = self._clock(), network_of(address)
        known = self._guessers.get(network)
        if known is None or now - known.last > FORGIVEN_AFTER:
            known = _Guesser(since=now, last=now)
        self._guessers.put(network, known)
        if now < known.until:
            return math.ceil(known.until - now)
        self._count(known, now)
        return 0

    def _count(self, guesser: _Guesser, now: float) -> None:
        if now - guesser.since > WINDOW:
            guesser.since, guesser.failures = now, 0
        guesser.failures += 1
        guesser.last = now
        if guesser.failures >= FAILURES:
            guesser.until = now + min(FIRST_LOCK * 2.0**guesser.locks, LONGEST_LOCK)
            guesser.locks = min(guesser.locks + 1, 32)
            guesser.failures = 0


class _Recent(Generic[Value]):
    """The last `MOST` values that were put."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str) -> Value | None:
        return self._values.get(name)

    def put(self, name: str, value: Value) -> None:
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > MOST:
            self._values.popitem(last=False)


def network_of(address: str) -> str:
    """Who can be told apart: an IPv4 address, or the /64 of an IPv6 one, which one customer has (RFC 6177)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
