"""Group commit: one thread owns the connection and commits what all clients asked for in one transaction.

Every answer goes out after the commit's fsync.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from serving.errors import Refused
from serving.queue.store.database import Database
from serving.queue.store.group import Group, Verb
from serving.queue.topology import Topology

Done = Callable[[Any], None]  # gets the verb's value, or a Refused; or a list of them

_log = logging.getLogger(__name__)


class Committer:
    """Runs verbs in the order in which they came. `done` callbacks run in the loop, after the commit."""

    def __init__(
        self,
        database: Database,
        topology: Topology,
        *,
        touched: Callable[[set[str]], None],
        batch: int = 1024,
    ) -> None:
        self._database, self._touched, self._batch = database, touched, batch
        self._group = Group(database, topology)
        self._loop = asyncio.get_running_loop()
        self._coming: list[tuple[Sequence[Verb], Done]] = []
        self._waiting: deque[tuple[Sequence[Verb], Done]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="committer", daemon=True)
        self._thread.start()

    def submit(self, verb: Verb, done: Done) -> None:
        """Run the verb in the next transaction."""
        self.submit_all([verb], lambda answers: done(answers[0]))

    def submit_all(self, verbs: Sequence[Verb], done: Done) -> None:
        """Run these verbs in the next transaction, each by itself; `done` gets all their answers."""
        if not self._coming:
            self._loop.call_soon(self._hand_over)
        self._coming.append((verbs, done))

    async def run(self, verb: Verb) -> Any:
        """Run the verb and wait for its commit; raises Refused."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.submit(verb, lambda answer: None if future.cancelled() else future.set_result(answer))
        answer = await future
        if isinstance(answer, Refused):
            raise answer
        return answer

    def close(self) -> None:
        """Finish what waits, then end the thread and close the store."""
        self._hand_over()
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        self._database.close()

    def _hand_over(self) -> None:
        """What came in this turn of the loop, all at once: it costs less than to wake the thread for each."""
        coming, self._coming = self._coming, []
        with self._wake:
            self._waiting.extend(coming)
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wake.wait()
                batch = self._next()
            if not batch:
                return
            answers, touched = self._group.commit([verb for verbs, _ in batch for verb in verbs])
            each = iter(answers)
            done = [(callback, list(islice(each, len(verbs)))) for verbs, callback in batch]
            try:
                self._loop.call_soon_threadsafe(self._deliver, done, touched)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return

    def _next(self) -> list[tuple[Sequence[Verb], Done]]:
        """What goes into one transaction."""
        batch, left = [], self._batch
        while self._waiting and left > 0:
            batch.append(self._waiting.popleft())
            left -= len(batch[-1][0])
        return batch

    def _deliver(self, done: list[tuple[Done, list[Any]]], touched: set[str]) -> None:
        for callback, answers in done:
            try:
                callback(answers)
            except Exception:
                _log.exception("an answer could not be handed over")
        if touched:
            self._touched(touched)
