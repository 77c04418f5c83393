"""How many may come in at once: connections in all and of one network, octets that are held, mails that wait."""

import asyncio
from collections import Counter
from dataclasses import dataclass

MOST_HELD = 192 << 20
"""Octets of mail that are on their way into the store, of all connections."""
STRANGERS = 4
"""Strangers may hold one part in so many of it: whoever got a mail of ours may answer it, as slowly as they like."""
MOST_WAITING = 2_000
"""Mails that wait for the store's commit."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: between two commands or two pieces of a mail (RFC 5321 section 4.5.3.2.7 wants five minutes at least),
    for a whole mail, and for a connection."""

    idle: float = 300.0
    mail: float = 1_800.0
    connection: float = 14_400.0


class Door:
    """Counts what is inside; `most` connections in all, `most_each` of an IPv4 address or of an IPv6 /64."""

    def __init__(
        self, most: int, most_each: int, *, most_held: int = MOST_HELD, most_waiting: int = MOST_WAITING
    ) -> None:
        self._most = most
        self._most_each = most_each
        self._most_held = most_held
        self._most_waiting = most_waiting
        self._connections: Counter[str] = Counter()
        self._inside = 0
        self._held = self._strangers_held = 0
        self._waiting = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def enter(self, network: str) -> str | None:
        """A connection came from what `network_of` tells; the reply with which it is sent away, None where it is let
        in."""
        if self._inside >= self._most:
            return "421 4.3.2 Too many connections; try again in a moment"
        if self._connections[network] >= self._most_each:
            return "421 4.7.0 Too many connections from your address; try again in a moment"
        self._connections[network] += 1
        self._inside += 1
        return None

    def leave(self, network: str) -> None:
        """A connection that was let in has ended."""
        self._inside -= 1
        self._connections[network] -= 1
        if not self._connections[network]:
            del self._connections[network]

    def has_room(self) -> bool:
        """Whether another mail may begin to come in."""
        return self._held < self._most_held and self._waiting < self._most_waiting

    def hold(self, octets: int, *, stranger: bool = False) -> bool:
        """Whether so many octets more of a mail may be kept; they are counted until `let_go`."""
        if self._held + octets > self._most_held:
            return False
        if stranger and self._strangers_held + octets > self._most_held // STRANGERS:
            return False
        self._held += octets
        self._strangers_held += octets * stranger
        return True

    def let_go(self, octets: int, *, stranger: bool = False) -> None:
        """They are in the store, or refused."""
        self._held -= octets
        self._strangers_held -= octets * stranger

    def wait(self) -> bool:
        """Whether a mail may wait for the store; it is counted until `waited`."""
        if self._waiting >= self._most_waiting:
            return False
        self._waiting += 1
        self._quiet.clear()
        return True

    def waited(self) -> None:
        """It is in the store, or refused."""
        self._waiting -= 1
        if not self._waiting:
            self._quiet.set()

    async def is_quiet(self) -> None:
        """Return when no mail waits for the store."""
        await self._quiet.wait()
