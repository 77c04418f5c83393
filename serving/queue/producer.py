"""clarion_producer_v1 as the broker serves it."""

from typing import Any

from serving.errors import Refused
from serving.queue.resource import Resource, split
from serving.queue.store import intake
from serving.queue.store.intake import Ids, NewMessage
from serving.queue.values import json_object

MAX_RECIPIENTS = 10_000
CREDIT = 256
_LOOKUP = 32


class Producer(Resource):
    """Collects recipients and accepts messages."""

    interface_name = "clarion_producer_v1"

    def open(self) -> None:
        """Grant the first credit."""
        self._credit = CREDIT
        self._recipients: list[tuple[bytes, bytes]] = []
        self.event("credit", CREDIT)

    def on_recipient(self, lookup: bytes, address: bytes) -> None:
        """One more recipient of the next message."""
        if len(self._recipients) >= MAX_RECIPIENTS:
            raise self.error("too_many_recipients", f"at most {MAX_RECIPIENTS} recipients a message")
        self._recipients.append((lookup, address))

    def on_accept_fd(self, *values: Any) -> None:
        """A message whose body came as a memfd."""
        serial, priority, principal, key, digest, facts, fd, size = values
        self.on_accept(serial, priority, principal, key, digest, facts, self.receive(fd, size))

    def on_accept(
        self, serial: int, priority: int, principal: str, key: str | None, digest: bytes, facts: bytes, body: bytes
    ) -> None:
        """Store a message; answered after the commit."""
        if self._credit <= 0:
            raise self.error("no_credit", "accept without credit; wait for the credit event")
        self._credit -= 1
        recipients, self._recipients = self._recipients, []
        try:
            self._check(priority, key, recipients)
            new = NewMessage(principal, body, recipients, key, digest, json_object(facts), priority)
        except Refused as refused:
            self._answer(serial, refused)
            return
        self.session.broker.committer.submit(
            lambda transaction: intake.accept(transaction, new), lambda answer: self._answer(serial, answer)
        )

    def _check(self, priority: int, key: str | None, recipients: list[tuple[bytes, bytes]]) -> None:
        if not self.session.rights.publish:
            raise Refused("denied", "this peer may not publish")
        if priority not in self.session.broker.protocol["clarion_manager_v1"].enums["priority"].values():
            raise Refused("malformed", "no such priority")
        if key is not None and not 0 < len(key.encode()) <= 255:
            raise Refused("malformed", "an idempotency key has 1 to 255 octets")
        if not all(len(lookup) == _LOOKUP for lookup, _ in recipients):
            raise Refused("malformed", f"a lookup has {_LOOKUP} octets")

    def _answer(self, serial: int, answer: Ids | Refused) -> None:
        self._credit += 1
        if isinstance(answer, Refused):
            self.event("rejected", serial, self.session.reason(answer), answer.detail)
        else:
            for id_ in answer.notifications:
                self.event("notification", serial, *split(id_))
            self.event("accepted", serial, *split(answer.message), int(answer.duplicate))
        self.event("credit", 1)
