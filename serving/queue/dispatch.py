"""Hands due notifications to consumers that granted credit, a stage at a time, in turn."""

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from serving.errors import Refused
from serving.queue.store import hops
from serving.queue.store.committer import Committer
from serving.queue.store.hops import Claimed
from serving.queue.store.transaction import Afterwards

_MOST = 64
_log = logging.getLogger(__name__)
_NORMAL_TURN = 8


class Worker(Protocol):
    """A consumer as the dispatcher sees it."""

    stage: str
    credit: int
    owner: str
    visibility: float

    @property
    def room(self) -> int:
        """Octets of bodies that it may be leased at once beside those that it has; it gets nothing where it is full."""
        ...

    @property
    def is_congested(self) -> bool:
        """Whether its peer is behind with reading; it gets nothing until it has caught up."""
        ...

    def deliver(self, claimed: list[Claimed]) -> None:
        """Take the leases."""
        ...


class Dispatcher:
    """Claims for whoever has credit. `wake` a stage when it may have work, tell `credited` when a consumer may take
    more; a stage without work costs nothing.

    Urgent goes before normal, except that every eighth claim of a stage takes normal first: nothing starves.
    """

    def __init__(self, committer: Committer, is_open: Callable[[Worker], bool]) -> None:
        self._committer, self._is_open = committer, is_open
        self._workers: dict[str, deque[Worker]] = {}
        self._claiming: set[str] = set()
        self._again: set[str] = set()
        self._dry: set[str] = set()
        self._turns: Counter[str] = Counter()

    def add(self, worker: Worker) -> None:
        """A consumer that may grant credit."""
        self._workers.setdefault(worker.stage, deque()).append(worker)

    def remove(self, worker: Worker) -> None:
        """A consumer that is gone."""
        workers = self._workers.get(worker.stage)
        if workers is not None and worker in workers:
            workers.remove(worker)

    def wake(self, stage: str) -> None:
        """The stage may have work."""
        self._dry.discard(stage)
        if stage in self._claiming:
            self._again.add(stage)
            return
        worker = self._next(stage)
        if worker is not None:
            self._claim(stage, worker)

    def credited(self, stage: str) -> None:
        """A consumer has new credit: of use where the last claim left something."""
        if stage not in self._dry:
            self.wake(stage)

    def wake_all(self) -> None:
        """Time has passed: anything may be due."""
        for stage in self._workers:
            self.wake(stage)

    def _next(self, stage: str) -> Worker | None:
        workers = self._workers.get(stage, deque())
        for _ in range(len(workers)):
            workers.rotate(-1)
            if _may_take(workers[-1]):
                return workers[-1]
        return None

    def _claim(self, stage: str, worker: Worker) -> None:
        sharing = sum(1 for other in self._workers[stage] if _may_take(other))
        count, room = max(1, min(worker.credit // sharing, _MOST)), worker.room
        worker.credit -= count
        self._claiming.add(stage)
        self._turns[stage] += 1
        normal_first = self._turns[stage] % _NORMAL_TURN == 0
        self._committer.submit(
            Afterwards(lambda t: hops.claim(t, stage, count, worker.owner, worker.visibility, normal_first, room)),
            lambda answer: self._claimed(stage, worker, count, answer),
        )

    def _claimed(self, stage: str, worker: Worker, count: int, answer: list[Claimed] | Refused) -> None:
        self._claiming.discard(stage)
        claimed = [] if isinstance(answer, Refused) else answer
        worker.credit += count - len(claimed)
        if claimed:
            self._hand_over(worker, claimed)
        if len(claimed) == count or stage in self._again or worker.room <= 0:
            self._again.discard(stage)
            self.wake(stage)
        elif not isinstance(answer, Refused):
            self._dry.add(stage)

    def _delivered(self, worker: Worker, claimed: list[Claimed]) -> bool:
        """A lease that cannot be sent must not take the others and the worker's credit with it."""
        try:
            worker.deliver(claimed)
        except Exception:
            _log.exception("leases of %s could not be handed over", worker.stage)
            worker.credit += len(claimed)
            return False
        return True

    def _hand_over(self, worker: Worker, claimed: list[Claimed]) -> None:
        """A consumer that went away meanwhile gets nothing, and nobody waits for it."""
        if self._is_open(worker) and self._delivered(worker, claimed):
            return
        unheard = [(lease.row["id"], lease.row["fence"]) for lease in claimed]
        self._committer.submit(lambda transaction: hops.release_leases(transaction, unheard), lambda _: None)


def _may_take(worker: Worker) -> bool:
    return worker.credit > 0 and worker.room > 0 and not worker.is_congested
