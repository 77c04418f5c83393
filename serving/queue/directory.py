"""clarion_directory_v1 as the broker serves it."""

from functools import partial
from typing import Any

from serving.errors import Refused
from serving.queue.limits import MAX_QUESTIONS, parameters_limit
from serving.queue.resource import Resource
from serving.queue.store import directory
from serving.queue.store.transaction import Transaction
from serving.queue.values import encode, json_objects


class Directory(Resource):
    """Runs named queries and commands for peers that may."""

    interface_name = "clarion_directory_v1"

    def on_ask_fd(self, serial: int, name: str, fd: int, size: int) -> None:
        """Large parameters."""
        self.on_ask(serial, name, self.receive(fd, size, parameters_limit(self.session.broker.max_body)))

    def on_ask(self, serial: int, name: str, parameters: bytes) -> None:
        """Run it: a command in the next transaction, answered after the commit; a query on what is committed."""
        try:
            if not self.session.rights.may_ask(name):
                raise Refused("denied", "this peer may not ask that")
            values = json_objects(parameters, MAX_QUESTIONS)
            if isinstance(values, list) and not directory.is_short(name):
                raise Refused("malformed", "only short queries may be asked several at once")
        except Refused as refused:
            self._answer(serial, refused)
            return
        run, done = partial(_answers, name=name, asked=values), partial(self._answer, serial)
        if name in directory.LONG:
            self.session.read(run, done)
        elif name not in directory.AT_ONCE or not self.session.broker.glance(run, done):
            self.session.submit(run, done, len(values) if isinstance(values, list) else 1)

    def _answer(self, serial: int, answer: list[Any] | Refused) -> None:
        if isinstance(answer, Refused):
            self.event("refused", serial, self.session.reason(answer), answer.detail)
        else:
            self.event_with_body("answer", serial, body=encode(answer))


def _answers(transaction: Transaction, name: str, asked: dict[str, Any] | list[dict[str, Any]]) -> list[Any]:
    """The rows, or those of each question."""
    if isinstance(asked, dict):
        return directory.answer(transaction, name, asked)
    return [directory.answer(transaction, name, parameters) for parameters in asked]
