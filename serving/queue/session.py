"""One client's connection to the broker: its objects, its rights, its errors."""

import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from serving.errors import ProtocolError, Refused
from serving.queue.connection import Connection
from serving.queue.consumer import Consumer
from serving.queue.objects import Display
from serving.queue.policy import NOBODY, Peer
from serving.queue.resource import Resource
from serving.queue.store.committer import Done
from serving.queue.store.group import Verb

if TYPE_CHECKING:
    from serving.queue.broker import Broker

MAX_OBJECTS = 64
MAX_OUTSTANDING = 512
_FIRST_SERVER_ID = 0xFF000000

_log = logging.getLogger(__name__)


class Session:
    """Reads requests and calls the object that they name. Whatever a handler raises ends at most this session."""

    def __init__(self, broker: "Broker", sock: socket.socket, peer: Peer, gone: Callable[["Session"], None]) -> None:
        self.broker, self.peer = broker, peer
        self.owner = peer.owner
        self.rights = broker.policy.of(peer)
        self._gone = gone
        self._objects: dict[int, Resource] = {}
        self._outstanding = 0
        self.connection = Connection(
            sock, incoming=self._incoming, closed=self._closed, failed=self._failed, drained=self._drained
        )
        self.add(1, Display(self))

    def admit(self) -> None:
        """End the session at once, with the reason, when the peer's uid has no right at all."""
        if self.rights == NOBODY:
            self._failed(ProtocolError(f"uid {self.peer.uid} may do nothing here; name it in the broker's policy"))

    def add(self, object_id: int, resource: Resource) -> None:
        """Register a new object under the id that the client chose."""
        if not 0 < object_id < _FIRST_SERVER_ID or object_id in self._objects:
            raise ProtocolError("the new id is in use or out of range", object_id=1, code=0)
        if len(self._objects) >= MAX_OBJECTS:
            raise ProtocolError("too many objects; destroy some", object_id=1, code=2)
        resource.id = object_id
        self._objects[object_id] = resource

    def remove(self, resource: Resource) -> None:
        """Forget an object and tell the client that its id is free."""
        if self._objects.pop(resource.id, None) is not None:
            resource.closed()
            resource.is_gone = True
            self._objects[1].event("delete_id", resource.id)

    def count(self, kind: type[Resource]) -> int:
        """How many objects of that kind it has."""
        return sum(isinstance(resource, kind) for resource in self._objects.values())

    def reason(self, refused: Refused) -> int:
        """The refusal's number on the wire."""
        return self.broker.reasons.get(refused.reason, self.broker.reasons["malformed"])

    def submit(self, verb: Verb, done: Done, weight: int = 1) -> None:
        """Run the verb in the next transaction; it counts as so many. A peer with too many outstanding is not read
        until some end."""
        self._begin(weight)
        self.broker.committer.submit(verb, lambda answer: self._end(weight, done, answer))

    def submit_all(self, verbs: Sequence[Verb], done: Done) -> None:
        """The same for several, whose answers come together."""
        self._begin(len(verbs))
        self.broker.committer.submit_all(verbs, lambda answers: self._end(len(verbs), done, answers))

    def read(self, verb: Verb, done: Done) -> None:
        """Run a long query beside the transactions, on what was committed."""
        self._begin(1)
        self.broker.reader.submit(verb, lambda answer: self._end(1, done, answer))

    def held(self, owner: str, stage: str) -> set[int]:
        """The ids that this session's consumers of the stage hold for that process."""
        consumers = [each for each in self._consumers() if each.owner == owner and each.stage == stage]
        return {id_ for consumer in consumers for id_ in consumer.held}

    def revoke(self, leases: set[tuple[int, int]]) -> None:
        """Tell the consumers whose leases are over."""
        for consumer in self._consumers():
            consumer.revoke(leases)

    def close(self) -> None:
        """End the session."""
        self.connection.close()

    def _incoming(self, object_id: int, opcode: int, payload: memoryview, fds: "deque[int]") -> None:
        resource = self._objects.get(object_id)
        if resource is None:
            raise ProtocolError("no such object", object_id=1, code=0)
        requests = resource.interface.requests
        if opcode >= len(requests):
            raise ProtocolError("no such request", object_id=1, code=1)
        message = requests[opcode]
        try:
            values = message.decode(payload, fds)
        except ProtocolError as error:
            raise ProtocolError(str(error), object_id=1, code=1) from error
        for at, interface in message.objects:
            values[at] = self._known(values[at], interface)
        self._call(resource, message.name, values)
        if message.destructor:
            self.remove(resource)

    def _known(self, object_id: int, interface: str) -> Resource:
        """The object behind an argument; it must be one, and of that interface."""
        resource = self._objects.get(object_id)
        if resource is None or resource.interface_name != interface:
            raise ProtocolError(f"an argument is no {interface}", object_id=1, code=0)
        return resource

    def _call(self, resource: Resource, name: str, values: list[Any]) -> None:
        try:
            getattr(resource, f"on_{name}")(*values)
        except ProtocolError as error:
            error.object_id = error.object_id or resource.id
            raise
        except Exception:
            _log.exception("%s.%s failed", resource.interface.name, name)
            raise ProtocolError("the broker failed", object_id=1, code=3) from None

    def _failed(self, error: ProtocolError) -> None:
        _log.warning("peer %d broke the protocol: %s", self.peer.pid, error)
        self._objects[1].event("error", error.object_id or 1, error.code, str(error))
        self.connection.flush()
        self.connection.close()

    def _begin(self, verbs: int) -> None:
        self._outstanding += verbs
        if self._outstanding >= MAX_OUTSTANDING:
            self.connection.pause()

    def _end(self, verbs: int, done: Done, answer: Any) -> None:
        self._outstanding -= verbs
        if self._outstanding <= MAX_OUTSTANDING // 2:
            self.connection.resume()
        done(answer)

    def _consumers(self) -> list[Consumer]:
        return [resource for resource in self._objects.values() if isinstance(resource, Consumer)]

    def _drained(self) -> None:
        for consumer in self._consumers():
            self.broker.dispatcher.wake(consumer.stage)

    def _closed(self) -> None:
        for resource in self._objects.values():
            resource.closed()
        self._gone(self)
