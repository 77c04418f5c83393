"""Group commit: one thread owns the connection and commits what all clients asked for in one transaction.

Every answer goes out after the commit's fsync.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from serving.errors import Refused
from serving.queue.store.database import Database
from serving.queue.store.group import Group, Verb
from serving.queue.topology import Topology

Done = Callable[[Any], None]  # gets the verb's value, or a Refused

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
        self._waiting: list[tuple[Verb, Done]] = []
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="committer", daemon=True)
        self._thread.start()

    def submit(self, verb: Verb, done: Done) -> None:
        """Run the verb in the next transaction."""
        with self._wake:
            self._waiting.append((verb, done))
            self._wake.notify()

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
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        self._database.close()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wake.wait()
                batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
            if not batch:
                return
            answers, touched = self._group.commit([verb for verb, _ in batch])
            done = [callback for _, callback in batch]
            try:
                self._loop.call_soon_threadsafe(self._deliver, done, answers, touched)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return

    def _deliver(self, done: list[Done], answers: list[Any], touched: set[str]) -> None:
        for callback, answer in zip(done, answers, strict=True):
            try:
                callback(answer)
            except Exception:
                _log.exception("an answer could not be handed over")
        if touched:
            self._touched(touched)
