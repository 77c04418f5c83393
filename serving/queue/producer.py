"""clarion_producer_v1 as the broker serves it."""

import asyncio
import os
from typing import Any

from serving.errors import Refused
from serving.queue import limits
from serving.queue.resource import Resource, pack_ids, split
from serving.queue.store import intake
from serving.queue.store.intake import Ids, NewMessage
from serving.queue.store.transaction import Foreseen
from serving.queue.values import json_object

CREDIT = 256
_IDS = 500  # in one event


class Producer(Resource):
    """Collects recipients and accepts messages."""

    interface_name = "clarion_producer_v1"

    def open(self) -> None:
        """Grant the first credit."""
        self._credit, self._owed = CREDIT, 0
        self._recipients: list[tuple[bytes, bytes]] = []
        self._key_each = False
        self._fault: Refused | None = None
        self.event("credit", CREDIT)

    def on_recipient(self, lookup: bytes, address: bytes) -> None:
        """One more recipient of the next message; a bad one is answered when the message comes."""
        if len(self._recipients) >= limits.MAX_RECIPIENTS:
            raise self.error("too_many_recipients", f"at most {limits.MAX_RECIPIENTS} recipients a message")
        try:
            limits.check_recipient(lookup, address)
        except Refused as refused:
            self._fault = refused
        else:
            self._recipients.append((lookup, address))

    def on_key_each(self) -> None:
        """The key of the next message holds for each recipient by itself."""
        self._key_each = True

    def on_accept_fd(self, *values: Any) -> None:
        """A message whose body came as a memfd."""
        serial, priority, principal, key, digest, facts, fd, size = values
        try:
            limits.check_size(size, self.session.broker.max_body, "a body")
        except Refused as refused:
            os.close(fd)
            self._fault, body = refused, b""
        else:
            body = self.receive(fd, size)
        self.on_accept(serial, priority, principal, key, digest, facts, body)

    def on_accept_pool(self, *values: Any) -> None:
        """A message whose body lies in a pool."""
        serial, priority, principal, key, digest, facts, pool, offset, size = values
        self.on_accept(serial, priority, principal, key, digest, facts, pool.take(offset, size))

    def on_accept(
        self, serial: int, priority: int, principal: str, key: str | None, digest: bytes, facts: bytes, body: bytes
    ) -> None:
        """Store a message; answered after the commit."""
        if self._credit <= 0:
            raise self.error("no_credit", "accept without credit; wait for the credit event")
        self._credit -= 1
        recipients, self._recipients = self._recipients, []
        key_each, self._key_each = self._key_each, False
        fault, self._fault = self._fault, None
        try:
            self._check(priority, fault)
            limits.check_origin(principal, key, digest)
            new = NewMessage(principal, body, recipients, key, digest, json_object(facts), priority, key_each)
        except Refused as refused:
            self._answer(serial, refused)
            return
        accept = Foreseen(
            lambda transaction: intake.accept(transaction, new), keys=[(principal, each) for each in new.keys]
        )
        self.session.submit(accept, lambda answer: self._answer(serial, answer))

    def _check(self, priority: int, fault: Refused | None) -> None:
        if not self.session.rights.publish:
            raise Refused("denied", "this peer may not publish")
        if fault is not None:
            raise fault
        if priority not in self.session.broker.protocol["clarion_manager_v1"].enums["priority"].values():
            raise Refused("malformed", "no such priority")

    def _answer(self, serial: int, answer: Ids | Refused) -> None:
        self._grant_soon()
        if isinstance(answer, Refused):
            self.event("rejected", serial, self.session.reason(answer), answer.detail)
            return
        ids = answer.notifications
        while len(ids) > _IDS:
            self.event("notifications", serial, pack_ids(ids[:_IDS]))
            ids = ids[_IDS:]
        self.event("accepted", serial, *split(answer.message), int(answer.duplicate), pack_ids(ids))

    def _grant_soon(self) -> None:
        """Credit for what was answered, once for all that is answered in this turn of the loop."""
        if not self._owed:
            asyncio.get_running_loop().call_soon(self._grant)
        self._owed += 1

    def _grant(self) -> None:
        count, self._owed = self._owed, 0
        self._credit += count
        self.event("credit", count)
