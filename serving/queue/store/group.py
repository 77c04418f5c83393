"""Many verbs in one transaction, and each by itself: one that is refused harms no other, and leaves nothing."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from serving.errors import Refused
from serving.queue.store.database import Database
from serving.queue.store.transaction import Afterwards, Identifiers, Transaction, Unsettled
from serving.queue.topology import Topology

Verb = Callable[[Transaction], Any]

_AGAIN = 2

_log = logging.getLogger(__name__)


class Group:
    """Commits groups of verbs, one after the other."""

    def __init__(self, database: Database, topology: Topology, identifiers: Identifiers | None = None) -> None:
        self._database, self._topology = database, topology
        self._identifiers = identifiers or Identifiers()

    def commit(self, verbs: Sequence[Verb]) -> tuple[list[Any], set[str]]:
        """Each verb's answer or its Refused, in order, and the stages that got work; durable.

        Done again from the beginning, twice at most, where another broker came between or where a row that had waited
        was refused.
        """
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

    def _try(self, verbs: Sequence[Verb], *, careful: bool) -> tuple[list[Any], set[str]]:
        now = self._database.begin()
        self._identifiers.broker = self._database.number  # another one, perhaps, after the database was away
        transaction = Transaction(self._database, self._topology, self._identifiers, now, is_careful=careful)
        transaction.foresee(verbs)
        answers: list[Any] = [None] * len(verbs)
        for nth in sorted(range(len(verbs)), key=lambda nth: isinstance(verbs[nth], Afterwards)):
            answers[nth] = self._run(transaction, verbs[nth])
        transaction.settle()
        if transaction.touched:
            self._database.tell(transaction.touched)
        self._database.commit()
        return answers, transaction.touched

    def _run(self, transaction: Transaction, verb: Verb) -> Any:
        """The verb's answer. Only a failure of the store itself is everybody's: any other is this verb's alone."""
        for left in range(_AGAIN, -1, -1):
            transaction.begin(verb)
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
    except transaction.database.failures:
        raise
    except Unsettled:
        raise
    except Exception as error:
        return _malformed(error), error


def _malformed(error: Exception) -> Refused:
    _log.warning("a verb was malformed: %s", type(error).__name__)
    return Refused("malformed", f"a value is not what it should be ({type(error).__name__})")
