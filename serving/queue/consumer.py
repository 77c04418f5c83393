"""clarion_consumer_v1 as the broker serves it: what it leases out, and how hops are collected and applied."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from serving.errors import ProtocolError, Refused
from serving.queue import limits, memory
from serving.queue.held import Held
from serving.queue.pool import Pool
from serving.queue.regions import Regions
from serving.queue.resource import Resource, join, milliseconds, pack_leases, split, unpack_leases
from serving.queue.store import history, hops
from serving.queue.store.hops import Claimed, LeaseName, Pending
from serving.queue.store.ledger import Posting
from serving.queue.store.transaction import Foreseen, Transaction
from serving.queue.values import json_object

if TYPE_CHECKING:
    from serving.queue.session import Session

MAX_CREDIT = 1024
_SPARE = 4 << 20


class Consumer(Resource):
    """Leases out a stage's notifications and applies hops. What a hop collects waits in `_pending` until complete."""

    interface_name = "clarion_consumer_v1"

    def __init__(self, session: "Session", stage: str, visibility: float) -> None:
        super().__init__(session)
        self.stage, self.visibility, self.owner = stage, visibility, session.owner
        self.credit = 0
        self.is_open = False
        self._held = Held()
        self._ending: set[int] = set()
        self._named: dict[int, int] = {}
        self._pending: dict[int, Pending] = {}
        self._collected = 0
        self._pool: Pool | None = None
        self._regions = Regions(0)

    @property
    def is_congested(self) -> bool:
        """Whether its peer does not read what it got already."""
        return self.session.connection.is_congested

    @property
    def room(self) -> int:
        """See Held."""
        return self._held.room

    @property
    def held(self) -> set[int]:
        """The ids that it leased out and that have not ended."""
        return set(self._held.fences)

    def open(self) -> None:
        """Join the stage's workers, or say why not."""
        reasons = self.session.broker.reasons
        if self.stage not in self.session.broker.topology.places:
            self.event("closed", reasons["unknown_stage"])
        elif not self.session.rights.may_consume(self.stage):
            self.event("closed", reasons["denied"])
        else:
            self.is_open = True
            self.session.broker.dispatcher.add(self)

    def closed(self) -> None:
        """Leave the stage's workers."""
        if self.is_open:
            self.is_open = False
            self.session.broker.dispatcher.remove(self)

    def deliver(self, claimed: list[Claimed]) -> None:
        """Send leases with their bodies."""
        for lease in claimed:
            row, facts = lease.row, lease.row["facts"].encode()
            self._held.add(row["id"], row["fence"], len(lease.body))
            follows = not memory.fits_inline(lease.body, lease.principal, row["recipient"], row["address"], facts)
            self.event(
                "lease",
                *split(row["id"]),
                row["fence"],
                *split(row["message"]),
                row["ordinal"],
                row["attempt"],
                row["priority"],
                *milliseconds(row["accepted_at"]),
                lease.principal,
                row["recipient"],
                row["address"],
                facts,
                int(follows),
                b"" if follows else lease.body,
            )
            if follows:
                self._send_body(row["id"], lease.body)

    def revoke(self, leases: set[tuple[int, int]]) -> None:
        """Say which of this consumer's leases are over."""
        for id_, fence in leases & set(self._held.fences.items()):
            self._forget(id_, fence)
            self.event("revoked", *split(id_), fence)

    def on_grant(self, count: int) -> None:
        """More credit."""
        self.credit += count
        if self.credit + len(self._held.fences.keys() - self._ending) > MAX_CREDIT:
            raise self.error("credit_overflow", f"credit over {MAX_CREDIT}")
        if self.is_open:
            self.session.broker.dispatcher.credited(self.stage)

    def on_bound(self, octets: int) -> None:
        """How much may be leased out at once."""
        self._held.most = octets

    def on_hold(self, high: int, low: int, fence: int) -> None:
        """A lease that the process still works on."""
        if len(self._named) >= MAX_CREDIT:
            raise self.error("credit_overflow", f"at most {MAX_CREDIT} leases a consumer")
        self._named[join(high, low)] = fence

    def on_resume(self) -> None:
        """Start over with the leases that were named; the process's others go back to the stage at once."""
        self._held.start_over(self._named)
        self._named, self.credit = {}, 0
        self._pending.clear()
        self._collected = 0
        if self.is_open:
            owner, stage = self.owner, self.stage
            keep = self.session.broker.held(owner, stage)
            self.session.submit(lambda t: hops.release_others(t, owner, stage, keep), lambda _: None)

    def on_fact(self, high: int, low: int, facts: bytes) -> None:
        """Collect facts."""
        self._collect(high, low, len(facts)).facts.update(self._object(facts))

    def on_envelope(self, high: int, low: int, body: bytes) -> None:
        """Collect the outgoing mail."""
        self._collect(high, low, len(body)).envelope = body

    def on_envelope_fd(self, high: int, low: int, fd: int, size: int) -> None:
        """Collect the outgoing mail, large."""
        self.on_envelope(high, low, self.receive(fd, size))

    def on_envelope_pool(self, high: int, low: int, pool: Pool, offset: int, size: int) -> None:
        """Collect the outgoing mail, from a pool."""
        self.on_envelope(high, low, pool.take(offset, size))

    def on_use_pool(self, pool: Pool) -> None:
        """Large bodies through this pool from now on."""
        self._pool, self._regions = pool, Regions(pool.size)

    def on_release(self, offset: int) -> None:
        """A region is free again."""
        if not self._regions.give_back(offset):
            raise self.error("not_given", f"no region at {offset} was given")

    def on_post(self, high: int, low: int, account: str, currency: str, amount: int) -> None:
        """Collect a posting."""
        pending = self._collect(high, low, len(account))
        if len(pending.postings) >= limits.MAX_POSTINGS:
            raise self.error("too_much_pending", f"at most {limits.MAX_POSTINGS} postings a hop")
        pending.postings.append(Posting(account, amount))
        pending.currency = currency

    def on_observe(self, high: int, low: int, seen: bytes, reaction: bytes) -> None:
        """Collect the history's growth."""
        pending = self._collect(high, low, len(seen) + len(reaction))
        try:
            pending.seen += history.unpack(seen)
            pending.reaction += history.expected(reaction)
            limits.check_size(len(pending.reaction), limits.MAX_REACTION, "reaction records")
        except Refused as refused:
            raise self.error("too_much_pending", refused.detail) from refused

    def on_complete(self, leases: bytes, outcome: str, until_high: int, until_low: int) -> None:
        """Apply these hops, each by itself."""
        until = join(until_high, until_low) / 1000 or None
        names = [LeaseName(id_, fence, self.owner) for id_, fence in self._named_in(leases)]
        verbs = [
            Foreseen(partial(hops.complete, name=name, outcome=outcome, pending=self._take(name.id), until=until), name)
            for name in names
        ]
        self._ending.update(name.id for name in names)
        self.session.submit_all(verbs, lambda answers: self._settled(names, answers, ends=True))

    def on_note(self, high: int, low: int, fence: int, kind: str) -> None:
        """Write down what is about to happen."""
        name, pending = self._name(high, low, fence), self._take(join(high, low))
        self._submit(name, lambda t: hops.note(t, name, kind, pending.facts), ends=False)

    def on_retry(self, high: int, low: int, fence: int, delay_ms: int, cause: str) -> None:
        """Give the lease back."""
        name = self._name(high, low, fence)
        self._submit(name, lambda t: hops.retry(t, name, delay_ms / 1000, cause), ends=True)

    def on_dead(self, high: int, low: int, fence: int, cause: str) -> None:
        """Give the notification up."""
        name = self._name(high, low, fence)
        self._submit(name, lambda t: hops.dead(t, name, cause), ends=True)

    def on_extend(self, high: int, low: int, fence: int, visibility_ms: int) -> None:
        """More time."""
        name = self._name(high, low, fence)
        self._submit(name, lambda t: hops.extend(t, name, visibility_ms / 1000), ends=False)

    def _send_body(self, id_: int, body: bytes) -> None:
        """Through the pool where there is room, else as a sealed memfd."""
        offset = None
        if self._pool is not None and not self._pool.is_gone:
            offset = self._regions.take(len(body))
        try:
            if offset is None or self._pool is None:
                self.event("body_fd", *split(id_), memory.share(body), len(body))
            else:
                self._pool.write(offset, body)
                self.event("body_pool", *split(id_), offset, len(body))
        except OSError:  # no descriptor or no memory is left: this peer asks again later, the others go on
            self.session.close()

    def _collect(self, high: int, low: int, octets: int) -> Pending:
        """Where a hop collects. For a lease that is over it goes nowhere: the verb that follows is refused anyway."""
        id_ = join(high, low)
        if id_ not in self._held.fences:
            return Pending()
        self._collected += octets
        if self._collected > 2 * self.session.broker.max_body + _SPARE:
            raise self.error("too_much_pending", "complete some hops first")
        pending = self._pending.setdefault(id_, Pending())
        pending.octets += octets
        return pending

    def _take(self, id_: int) -> Pending:
        pending = self._pending.pop(id_, None)
        if pending is None:
            return Pending()
        self._collected -= pending.octets
        return pending

    def _object(self, octets: bytes) -> dict[str, Any]:
        try:
            return json_object(octets)
        except Refused as refused:
            raise self.error("too_much_pending", refused.detail) from refused

    def _name(self, high: int, low: int, fence: int) -> LeaseName:
        return LeaseName(join(high, low), fence, self.owner)

    def _named_in(self, records: bytes) -> list[tuple[int, int]]:
        try:
            leases = unpack_leases(records)
        except ProtocolError as error:
            raise self.error("bad_leases", str(error)) from error
        if not leases:
            raise self.error("bad_leases", "no lease is named")
        return leases

    def _submit(self, name: LeaseName, verb: Callable[[Transaction], None], *, ends: bool) -> None:
        self.session.submit_all([Foreseen(verb, name)], lambda answers: self._settled([name], answers, ends=ends))

    def _settled(self, names: Sequence[LeaseName], answers: Sequence[Refused | None], *, ends: bool) -> None:
        settled = []
        self._ending.difference_update(name.id for name in names)
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, Refused):
                self.event("refused", *split(name.id), name.fence, self.session.reason(answer), answer.detail)
                is_over = answer.reason == "lease_lost"
            else:
                settled.append((name.id, name.fence))
                is_over = ends
            if is_over:
                self._forget(name.id, name.fence)
        if settled:
            self.event("settled", pack_leases(settled))

    def _forget(self, id_: int, fence: int) -> None:
        """The lease is over, and a newer one of the same notification is not."""
        if self._held.drop(id_, fence) and id_ in self._pending:
            self._take(id_)
