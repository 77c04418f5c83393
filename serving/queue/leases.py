"""The client's side of a consumer: what it was leased, over all the connections that it takes."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

from serving.errors import BrokerUnavailable, Refused
from serving.queue.lease import Lease
from serving.queue.link import Link, refusal
from serving.queue.resource import join, pack_leases, split, unpack_leases
from serving.queue.values import from_json

_TOGETHER = 256  # leases in one request

_names = itertools.count(1)


class Leases:
    """The consumer of one stage. Iterating gives leases; a connection that ends raises BrokerUnavailable from it."""

    def __init__(self, stage: str, credit: int, visibility: float, octets: int | None) -> None:
        self._stage, self._credit, self._visibility, self._octets = stage, credit, visibility, octets
        self._name = f"consumer {next(_names)}"
        self._link: Link | None = None
        self._arrived: asyncio.Queue[Lease | Exception] = asyncio.Queue()
        self._heads: dict[int, list[Any]] = {}
        self._held: set[tuple[int, int]] = set()
        self._waiting: dict[tuple[int, int], list[asyncio.Future[None]]] = {}
        self._ending: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self._detached = False
        self._granted: set[tuple[int, int]] = set()
        self._room = 0
        self._grants = False

    def attach(self, link: Link) -> None:
        """Use this connection from now on: name the leases still held, and ask for as much as they leave room for."""
        if link is self._link:
            return
        self._link, self._room, self._grants = link, min(self._credit - len(self._held), 0), False
        self._granted.clear()
        self._heads.clear()
        self._ending.clear()
        link.add_consumer(self._name, self._stage, self._visibility, self._on_event)
        link.when_ended(self._ended)
        if self._octets is not None:
            self.send("bound", self._octets)
        self._resume()
        if self._credit > len(self._held):
            self.send("grant", self._credit - len(self._held))

    def detach(self) -> None:
        """No more work: what was not begun goes back at once, what was can still be completed."""
        self._detached = True
        while not self._arrived.empty():
            unbegun = self._arrived.get_nowait()
            if isinstance(unbegun, Lease):
                self._held.discard((unbegun.id, unbegun.fence))
        if self._is_linked:
            self._resume()
            self._leave_when_done()

    async def __aiter__(self) -> AsyncIterator[Lease]:
        """Leases as they come; BrokerUnavailable when the connection ends, Refused when the stage is closed to us."""
        while True:
            arrived = await self._arrived.get()
            if isinstance(arrived, Exception):
                raise arrived
            if (arrived.id, arrived.fence) in self._held:  # else it was revoked while it lay here
                yield arrived

    @property
    def max_body(self) -> int:
        """The largest body that the broker takes, in octets."""
        return self._linked().max_body

    def send(self, name: str, *values: Any) -> None:
        """Send a request of this consumer."""
        self._linked().request(self._name, name, *values)

    def send_body(self, name: str, *values: Any, body: bytes) -> None:
        """Send a request with a body."""
        self._linked().request_with_body(self._name, name, *values, body=body)

    async def ask(self, lease: Lease, name: str, *values: Any) -> None:
        """Send a lease's request and wait until it is settled; raises Refused or BrokerUnavailable."""
        self._say(lease, name, *values)
        await self._settled(lease)

    async def end(self, lease: Lease, name: str, *values: Any) -> None:
        """Like `ask`, for what ends the lease: there is room for another one then."""
        self._say(lease, name, *values)
        await self._over(lease)

    async def complete(self, lease: Lease, outcome: str, until: int) -> None:
        """End the lease with its hop, `until` in milliseconds; those of one turn of the loop are sent together.

        Credit for as many others goes with them, so that one commit ends these and brings those. Where the hop is
        refused, the lease goes on, and what ends next brings none.
        """
        link, name = self._linked(), (lease.id, lease.fence)
        if not self._ending:
            asyncio.get_running_loop().call_soon(self._complete, link)
        self._ending.setdefault((outcome, until), []).append(name)
        if name in self._held and name not in self._granted and not self._detached:
            self._granted.add(name)
            self._grant_soon()
        try:
            await self._over(lease)
        except Refused:
            if name in self._granted:
                self._granted.discard(name)
                self._room -= 1
            raise

    def _say(self, lease: Lease, name: str, *values: Any) -> None:
        """Send a lease's request, behind those that came before it: answers name no request."""
        self._complete(self._linked())
        self.send(name, *split(lease.id), lease.fence, *values)

    def _complete(self, link: Link) -> None:
        if self._link is not link or not self._is_linked:  # whoever waits was told that the connection is over
            return
        ending, self._ending = self._ending, {}
        for (outcome, until), leases in ending.items():
            for start in range(0, len(leases), _TOGETHER):
                self.send("complete", pack_leases(leases[start : start + _TOGETHER]), outcome, *split(until))

    def _settled(self, lease: Lease) -> "asyncio.Future[None]":
        """What is answered to the last request about the lease."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault((lease.id, lease.fence), []).append(future)
        return future

    async def _over(self, lease: Lease) -> None:
        try:
            await self._settled(lease)
        except Refused as refused:
            if refused.reason == "lease_lost":
                self._drop(lease.id, lease.fence)
            raise
        self._drop(lease.id, lease.fence)

    def _drop(self, id_: int, fence: int) -> None:
        if (id_, fence) not in self._held:
            return
        self._held.discard((id_, fence))
        is_granted = (id_, fence) in self._granted
        self._granted.discard((id_, fence))
        if not self._is_linked:
            return
        if self._detached:
            self._leave_when_done()
        elif not is_granted:
            self._grant_soon()

    def _grant_soon(self) -> None:
        """Credit for what has ended, once for all that ends in this turn of the loop."""
        if not self._grants:
            self._grants = True
            asyncio.get_running_loop().call_soon(self._grant, self._link)
        self._room += 1

    def _grant(self, link: Link | None) -> None:
        if self._link is not link:  # it granted by itself what there is room for
            return
        self._grants = False
        count = max(self._room, 0)
        if count and self._is_linked and not self._detached:
            self._room -= count
            self.send("grant", count)

    @property
    def _is_linked(self) -> bool:
        return self._link is not None and not self._link.is_closed

    def _linked(self) -> Link:
        if self._link is None or not self._is_linked:
            raise BrokerUnavailable("the broker went away; connect again")
        return self._link

    def _resume(self) -> None:
        for id_, fence in self._held:
            self.send("hold", *split(id_), fence)
        self.send("resume")

    def _leave_when_done(self) -> None:
        if not self._held and self._link is not None:
            link, self._link = self._link, None
            link.forget(self._ended)
            link.remove_consumer(self._name)

    def _on_event(self, name: str, values: list[Any]) -> None:
        if name == "lease":
            *head, follows, body = values
            if follows:
                self._heads[join(values[0], values[1])] = head
            else:
                self._arrive(head, body)
        elif name == "body":
            self._arrive(self._heads.pop(join(values[0], values[1])), values[2])
        elif name == "closed":
            self._arrived.put_nowait(refusal(values[0], f"the stage {self._stage} is closed to this process"))
        else:
            self._answered(name, values)

    def _answered(self, name: str, values: list[Any]) -> None:
        if name == "settled":
            for lease in unpack_leases(values[0]):
                self._answer(lease, None)
            return
        high, low, fence, *rest = values
        if name == "revoked":
            self._drop(join(high, low), fence)
        else:
            self._answer((join(high, low), fence), refusal(rest[0], rest[1]))

    def _answer(self, lease: tuple[int, int], refused: Refused | None) -> None:
        waiting = self._waiting.get(lease, [])
        future = waiting.pop(0) if waiting else None
        if not waiting:
            self._waiting.pop(lease, None)
        if future is None or future.done():
            return
        if refused is None:
            future.set_result(None)
        else:
            future.set_exception(refused)

    def _arrive(self, head: list[Any], body: bytes) -> None:
        (high, low, fence, message_high, message_low, ordinal, attempt, priority, at_high, at_low, *texts) = head
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
            facts=from_json(facts) if facts != b"{}" else {},
            body=body,
            _leases=self,
        )
        if self._detached:
            self.send("retry", *split(lease.id), lease.fence, 0, "not begun")
            return
        self._held.add((lease.id, lease.fence))
        self._arrived.put_nowait(lease)

    def _ended(self, error: BrokerUnavailable) -> None:
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
        self._waiting.clear()
        self._arrived.put_nowait(error)
