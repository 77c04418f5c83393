"""The client's leases: claims of one stage, and the verbs that end them."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.errors import BrokerUnavailable, Refused
from serving.queue.link import Link, refusal
from serving.queue.resource import join, split
from serving.queue.store.history import RECORD
from serving.queue.values import encode

_names = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Posting:
    """`amount` minor units added to `account`; negative to take."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Growth of one counter of the history: a 32-octet key, how much, when (seconds since the epoch), its link."""

    key: bytes
    count: int
    at: float
    link: int = 0


@dataclass(frozen=True, slots=True)
class Hop:
    """What `complete` applies in one transaction, besides the outcome itself."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    envelope: bytes | None = None
    postings: Sequence[Posting] = ()
    currency: str = ""
    seen: Iterable[Seen] = ()
    reaction: bytes = b""
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
        hop = hop or Hop()
        self._collect(hop)
        await self._leases.end(self, "complete", outcome, *split(int((hop.until or 0) * 1000)))

    async def note(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Write down what is about to happen; returns after the commit."""
        self._collect(Hop(facts))
        await self._leases.ask(self, "note", kind)

    async def retry(self, delay: float, cause: str) -> None:
        """Give it back for `delay` seconds."""
        await self._leases.end(self, "retry", int(delay * 1000), cause)

    async def dead(self, cause: str) -> None:
        """Give it up."""
        await self._leases.end(self, "dead", cause)

    async def extend(self, visibility: float) -> None:
        """Keep it for `visibility` more seconds."""
        await self._leases.ask(self, "extend", int(visibility * 1000))

    def _collect(self, hop: Hop) -> None:
        send, words = self._leases.send, split(self.id)
        if hop.facts:
            send("fact", *words, encode(dict(hop.facts)))
        if hop.envelope is not None:
            self._leases.send_body("envelope", *words, body=hop.envelope)
        for posting in hop.postings:
            send("post", *words, posting.account, hop.currency, posting.amount)
        seen = b"".join(RECORD.pack(each.key, each.count, each.at, each.link) for each in hop.seen)
        if seen or hop.reaction:
            send("observe", *words, seen, hop.reaction)


class Leases:
    """The consumer of one stage. Iterating gives leases; a connection that ends raises BrokerUnavailable from it."""

    def __init__(self, stage: str, credit: int, visibility: float) -> None:
        self._stage, self._credit, self._visibility = stage, credit, visibility
        self._name = f"consumer {next(_names)}"
        self._link: Link | None = None
        self._arrived: asyncio.Queue[Lease | Exception] = asyncio.Queue()
        self._heads: dict[int, list[Any]] = {}
        self._held: set[tuple[int, int]] = set()
        self._waiting: dict[tuple[int, int], list[asyncio.Future[None]]] = {}

    def attach(self, link: Link) -> None:
        """Use this connection from now on: ask for as much work as the leases still held leave room for."""
        if link is self._link:
            return
        self._link = link
        self._heads.clear()
        link.add_consumer(self._name, self._stage, self._visibility, self._on_event)
        link.when_ended(self._ended)
        link.request(self._name, "grant", max(self._credit - len(self._held), 1))

    def detach(self) -> None:
        """No more work."""
        if self._link is not None:
            self._link.remove_consumer(self._name)

    async def __aiter__(self) -> AsyncIterator[Lease]:
        """Leases as they come; BrokerUnavailable when the connection ends, Refused when the stage is closed to us."""
        while True:
            arrived = await self._arrived.get()
            if isinstance(arrived, Exception):
                raise arrived
            yield arrived

    def send(self, name: str, *values: Any) -> None:
        """Send a request of this consumer."""
        if self._link is None:
            raise BrokerUnavailable("not connected")
        self._link.request(self._name, name, *values)

    def send_body(self, name: str, *values: Any, body: bytes) -> None:
        """Send a request with a body."""
        if self._link is None:
            raise BrokerUnavailable("not connected")
        self._link.request_with_body(self._name, name, *values, body=body)

    async def ask(self, lease: Lease, name: str, *values: Any) -> None:
        """Send a lease's request and wait until it is settled; raises Refused or BrokerUnavailable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault((lease.id, lease.fence), []).append(future)
        self.send(name, *split(lease.id), lease.fence, *values)
        await future

    async def end(self, lease: Lease, name: str, *values: Any) -> None:
        """Like `ask`, for what ends the lease: there is room for another one then."""
        try:
            await self.ask(lease, name, *values)
        except Refused as refused:
            if refused.reason == "lease_lost":
                self._drop(lease.id, lease.fence)
            raise
        self._drop(lease.id, lease.fence)

    def _drop(self, id_: int, fence: int) -> None:
        if (id_, fence) not in self._held:
            return
        self._held.discard((id_, fence))
        if self._link is not None and not self._link.is_closed:
            self.send("grant", 1)

    def _on_event(self, name: str, values: list[Any]) -> None:
        if name == "lease":
            self._heads[join(values[0], values[1])] = values
        elif name == "body":
            self._arrive(values)
        elif name == "closed":
            self._arrived.put_nowait(refusal(values[0], f"the stage {self._stage} is closed to this process"))
        else:
            self._answered(name, values)

    def _answered(self, name: str, values: list[Any]) -> None:
        high, low, fence, *rest = values
        lease = (join(high, low), fence)
        if name == "revoked":
            self._drop(*lease)
            return
        waiting = self._waiting.get(lease, [])
        future = waiting.pop(0) if waiting else None
        if not waiting:
            self._waiting.pop(lease, None)
        if future is None or future.done():
            return
        if name == "settled":
            future.set_result(None)
        else:
            future.set_exception(refusal(rest[0], rest[1]))

    def _arrive(self, values: list[Any]) -> None:
        high, low, body = values
        head = self._heads.pop(join(high, low))
        (_, _, fence, message_high, message_low, ordinal, attempt, priority, at_high, at_low, *texts) = head
        principal, recipient, address, facts = texts
        lease = Lease(
            id=join(high, low),
            fence=fence,
            message_id=join(message_high, message_low),
            ordinal=ordinal,
            attempt=attempt,
            urgent=priority == 0,
            accepted_at=join(at_high, at_low) / 1000,
            principal=principal,
            recipient=recipient,
            address=address,
            facts=json.loads(facts),
            body=body,
            _leases=self,
        )
        self._held.add((lease.id, lease.fence))
        self._arrived.put_nowait(lease)

    def _ended(self, error: BrokerUnavailable) -> None:
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
        self._waiting.clear()
        self._arrived.put_nowait(error)
