"""clarion_directory_v1 as the broker serves it."""

from typing import Any

from serving.errors import Refused
from serving.queue.limits import parameters_limit
from serving.queue.resource import Resource
from serving.queue.store import directory
from serving.queue.values import encode, json_object


class Directory(Resource):
    """Runs named queries and commands for peers that may."""

    interface_name = "clarion_directory_v1"

    def on_ask_fd(self, serial: int, name: str, fd: int, size: int) -> None:
        """Large parameters."""
        self.on_ask(serial, name, self.receive(fd, size, parameters_limit(self.session.broker.max_body)))

    def on_ask(self, serial: int, name: str, parameters: bytes) -> None:
        """Run it in the next transaction; answered after the commit."""
        try:
            if not self.session.rights.may_ask(name):
                raise Refused("denied", "this peer may not ask that")
            values = json_object(parameters)
        except Refused as refused:
            self._answer(serial, refused)
            return
        submit = self.session.read if name in directory.LONG else self.session.submit
        submit(
            lambda transaction: directory.answer(transaction, name, values), lambda answer: self._answer(serial, answer)
        )

    def _answer(self, serial: int, answer: list[dict[str, Any]] | Refused) -> None:
        if isinstance(answer, Refused):
            self.event("refused", serial, self.session.reason(answer), answer.detail)
        else:
            self.event_with_body("answer", serial, body=encode(answer))
