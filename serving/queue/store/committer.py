"""Group commit: one thread owns the connection and commits what all clients asked for in one transaction.

Every answer goes out after the commit's fsync. One verb that is refused rolls back to its savepoint and harms no other.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from serving.errors import Refused
from serving.queue.store.database import Database
from serving.queue.store.transaction import Identifiers, Transaction, Unsettled
from serving.queue.topology import Topology

Verb = Callable[[Transaction], Any]
Done = Callable[[Any], None]  # gets the verb's value, or a Refused

_AGAIN = 2

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
        self._database, self._topology, self._touched, self._batch = database, topology, touched, batch
        self._identifiers = Identifiers(database.number)
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
            answers, touched = self._commit([verb for verb, _ in batch])
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

    def _commit(self, verbs: list[Verb]) -> tuple[list[Any], set[str]]:
        """All verbs in one transaction; twice more, from the beginning, where another broker came between or where
        what had waited was refused."""
        careful = False
        for left in range(_AGAIN, -1, -1):
            try:
                return self._try(verbs, careful=careful)
            except Unsettled:
                self._roll_back()
                careful = True
            except self._database.failures as error:
                self._roll_back()
                if not left or not self._database.may_succeed_now(error):
                    _log.error("the store failed: %s", error)
                    break
        return [Refused("storage", "the durable store failed; try again later") for _ in verbs], set()

    def _try(self, verbs: list[Verb], *, careful: bool) -> tuple[list[Any], set[str]]:
        now = self._database.begin()
        self._identifiers.broker = self._database.number  # another one, perhaps, after the database was away
        transaction = Transaction(self._database, self._topology, self._identifiers, now, is_careful=careful)
        transaction.foresee(verbs)
        answers = [self._run(transaction, verb) for verb in verbs]
        transaction.settle()
        if transaction.touched:
            self._database.tell(transaction.touched)
        self._database.commit()
        return answers, transaction.touched

    def _run(self, transaction: Transaction, verb: Verb) -> Any:
        """The verb's answer. Only a failure of the store itself is everybody's: any other is this verb's alone."""
        for left in range(_AGAIN, -1, -1):
            transaction.begin()
            answer, error = attempt(verb, transaction)
            if isinstance(answer, Refused):
                transaction.undo()
            if error is None or not left or not self._database.may_succeed_now(error):
                break
        return answer

    def _roll_back(self) -> None:
        try:
            self._database.roll_back()
        except self._database.failures:
            _log.exception("the store could not be rolled back")


def attempt(verb: Verb, transaction: Transaction) -> tuple[Any, Exception | None]:
    """What the verb answers, or a Refused for what it raises, and that; only failures of the store itself pass, and
    Unsettled, which is others'."""
    try:
        return verb(transaction), None
    except Refused as refused:
        return refused, None
    except transaction.database.value_failures as error:
        return _malformed(error), error
    except (Unsettled, *transaction.database.failures):
        raise
    except Exception as error:
        return _malformed(error), error


def _malformed(error: Exception) -> Refused:
    _log.warning("a verb was malformed: %s", type(error).__name__)
    return Refused("malformed", f"a value is not what it should be ({type(error).__name__})")
