"""A lease as a client sees it: a claimed notification and the verbs that end its claim."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from serving.queue import limits
from serving.queue.resource import split
from serving.queue.store.history import EXPECTED, RECORD
from serving.queue.values import encode

if TYPE_CHECKING:
    from serving.queue.leases import Leases

_RECORDS_AT_ONCE = 60
_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Posting:
    """`amount` minor units added to `account`; negative to take."""

    account: str
    amount: int


class Seen(Protocol):
    """Growth of one counter of the history: a 32-octet key, how much, when (seconds since the epoch), its link."""

    @property
    def key(self) -> bytes: ...
    @property
    def count(self) -> int: ...
    @property
    def at(self) -> float: ...
    @property
    def link(self) -> int: ...


class Expected(Protocol):
    """A counter of the history that a reaction will add to, if it comes `until` then (seconds since the epoch)."""

    @property
    def key(self) -> bytes: ...
    @property
    def until(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Hop:
    """What `complete` applies in one transaction, besides the outcome itself."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    envelope: bytes | None = None
    postings: Sequence[Posting] = ()
    currency: str = ""
    seen: Iterable[Seen] = ()
    reaction: Iterable[Expected] = ()
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed notification. `accepted_at` is seconds since the epoch; `body` is what the stage works on."""

    id: int
    fence: int
    message_id: int
    ordinal: int
    attempt: int
    urgent: bool
    accepted_at: float
    principal: str
    recipient: bytes
    address: bytes
    facts: Mapping[str, Any]
    body: bytes
    _leases: "Leases" = field(repr=False, compare=False)

    async def complete(self, outcome: str, hop: Hop | None = None) -> None:
        """Apply the hop and move on; returns after the commit. Refused, and the lease goes on, when a check fails."""
        if hop is not None:
            self._collect(hop)
        until = hop.until if hop is not None and hop.until is not None else 0.0
        await self._leases.complete(self, outcome, int(until * 1000))

    async def note(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Write down what is about to happen; returns after the commit."""
        self._collect(Hop(facts))
        await self._leases.ask(self, "note", kind)

    async def retry(self, delay: float, cause: str) -> None:
        """Give it back for `delay` seconds."""
        await self._leases.end(self, "retry", _milliseconds(delay), _clean(cause))

    async def dead(self, cause: str) -> None:
        """Give it up."""
        await self._leases.end(self, "dead", _clean(cause))

    async def extend(self, visibility: float) -> None:
        """Keep it for `visibility` more seconds."""
        await self._leases.ask(self, "extend", _milliseconds(visibility))

    def _collect(self, hop: Hop) -> None:
        """Refused `too_large` before anything is sent: half a hop must not stay behind."""
        facts = encode(dict(hop.facts))
        seen = [RECORD.pack(each.key, each.count, each.at, each.link) for each in hop.seen]
        reaction = b"".join(EXPECTED.pack(each.key, each.until) for each in hop.reaction)
        limits.check_size(len(facts), limits.MAX_FACTS, "facts")
        limits.check_size(len(hop.envelope or b""), self._leases.max_body, "a mail")
        limits.check_size(len(reaction), limits.MAX_REACTION, "reaction records")
        limits.check_postings((posting.account, posting.amount) for posting in hop.postings)
        self._send(hop, facts, seen, reaction)

    def _send(self, hop: Hop, facts: bytes, seen: Sequence[bytes], reaction: bytes) -> None:
        send, words = self._leases.send, split(self.id)
        if hop.facts:
            send("fact", *words, facts)
        if hop.envelope is not None:
            self._leases.send_body("envelope", *words, body=hop.envelope)
        for posting in hop.postings:
            send("post", *words, posting.account, hop.currency, posting.amount)
        for start in range(0, len(seen), _RECORDS_AT_ONCE):
            send("observe", *words, b"".join(seen[start : start + _RECORDS_AT_ONCE]), b"")
        if reaction:
            send("observe", *words, b"", reaction)


def _milliseconds(seconds: float) -> int:
    return max(0, min(int(seconds * 1000), _WORD))


def _clean(cause: str) -> str:
    """What a string on the wire can hold."""
    return cause.replace("\0", " ").encode(errors="replace")[: limits.MAX_CAUSE].decode(errors="replace")
