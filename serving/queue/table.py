"""The client's objects on one connection: ids, names, and where each one's events go."""

from collections.abc import Callable
from typing import Any

from serving.errors import ProtocolError
from serving.queue import wire
from serving.queue.wire import Interface, Message

PROTOCOL = wire.load_clarion()

Handler = Callable[[str, list[Any]], None]


class Table:
    """Ids are given out from `first_free` on; those before it are the connection's own to choose."""

    def __init__(self, first_free: int) -> None:
        self._next_id = first_free
        self._objects: dict[int, tuple[Interface, Handler]] = {}
        self._names: dict[str, int] = {}
        self._requests: dict[tuple[str, str], tuple[int, Message]] = {}

    def add(self, name: str, interface_name: str, handler: Handler, object_id: int | None = None) -> int:
        """A new object, its id given or the next one; `handler(event, values)` hears of its events."""
        if object_id is None:
            object_id, self._next_id = self._next_id, self._next_id + 1
        interface = PROTOCOL[interface_name]
        self._objects[object_id] = (interface, handler)
        self._names[name] = object_id
        for message in interface.requests:
            self._requests[name, message.name] = (object_id, message)
        return object_id

    def drop(self, name: str) -> None:
        """An object that was destroyed: its events are ignored until the broker has said that its id is free."""
        object_id = self._names.pop(name)
        interface = self._objects[object_id][0]
        self._objects[object_id] = (interface, ignore)
        for message in interface.requests:
            del self._requests[name, message.name]

    def freed(self, object_id: int) -> None:
        """The broker has forgotten it."""
        self._objects.pop(object_id, None)

    def knows(self, name: str, request: str) -> bool:
        """Whether the object has such a request."""
        return (name, request) in self._requests

    def id_of(self, name: str) -> int:
        """Its id."""
        return self._names[name]

    def name_of(self, object_id: int) -> str | None:
        """Its name; None for one that was dropped."""
        return next((name for name, id_ in self._names.items() if id_ == object_id), None)

    def request(self, name: str, request: str) -> tuple[int, Message]:
        """The object's id, and the request."""
        return self._requests[name, request]

    def event(self, object_id: int, opcode: int) -> tuple[Message, Handler]:
        """The event and who hears of it; ProtocolError for one that is none."""
        found = self._objects.get(object_id)
        if found is None or opcode >= len(found[0].events):
            raise ProtocolError("the broker sent an event that is none")
        return found[0].events[opcode], found[1]


def ignore(name: str, values: list[Any]) -> None:
    """Events that carry nothing for this client."""
