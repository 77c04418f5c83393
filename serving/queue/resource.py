"""What every object of a session has: an interface, an id, and a way to send its events."""

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from serving.errors import ProtocolError
from serving.queue import memory
from serving.queue.wire import Interface, Message

if TYPE_CHECKING:
    from serving.queue.session import Session


_LEASE = struct.Struct("<QI")


class Resource:
    """An object that the client made. A request `name` is handled by the method `on_name`."""

    interface_name = ""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.id = 0
        self.is_gone = False
        self.interface: Interface = session.broker.protocol[self.interface_name]
        self._events: dict[str, Message] = {message.name: message for message in self.interface.events}

    def event(self, name: str, *values: Any) -> None:
        """Send an event; from an object that is gone, or on a connection that is over, it goes nowhere."""
        if self.is_gone:
            return
        self.session.connection.send(self.id, self._events[name], *values)

    def event_with_body(self, name: str, *values: Any, body: bytes) -> None:
        """Send `name` with the body inline, or `name_fd` with a sealed memfd and its size when it is large."""
        if self.is_gone or len(body) <= memory.MAX_INLINE:
            self.event(name, *values, body)
            return
        try:
            fd = memory.share(body)
        except OSError:  # no descriptor or no memory is left: this peer asks again later, the others go on
            self.session.close()
            return
        self.event(f"{name}_fd", *values, fd, len(body))

    def error(self, name: str, message: str) -> ProtocolError:
        """A fatal error of this interface, to be raised."""
        return ProtocolError(message, object_id=self.id, code=self.interface.enums["error"][name])

    def receive(self, fd: int, size: int, limit: int | None = None) -> bytes:
        """The octets behind a descriptor, at most `limit` (by default a body's); the interface's `bad_fd` when it is no
        sealed memfd of that size."""
        try:
            return memory.receive(fd, size, self.session.broker.max_body if limit is None else limit)
        except ProtocolError as error:
            raise self.error("bad_fd", str(error)) from error

    def on_destroy(self) -> None:
        """The session forgets the object afterwards."""

    def closed(self) -> None:
        """The object is gone, by destroy or with its connection."""


def join(high: int, low: int) -> int:
    """A 64-bit value from two words."""
    return high << 32 | low


def split(value: int) -> tuple[int, int]:
    """A 64-bit value as two words, high first."""
    return value >> 32 & 0xFFFFFFFF, value & 0xFFFFFFFF


def milliseconds(seconds: float) -> tuple[int, int]:
    """A time as two words of milliseconds."""
    return split(int(seconds * 1000))


def pack_leases(leases: Iterable[tuple[int, int]]) -> bytes:
    """Leases, each an id and its fence, as records."""
    return b"".join([_LEASE.pack(id_, fence) for id_, fence in leases])


def unpack_leases(records: bytes) -> list[tuple[int, int]]:
    """The leases again; ProtocolError where the octets are no whole records."""
    if len(records) % _LEASE.size:
        raise ProtocolError("leases are records of 12 octets")
    return list(_LEASE.iter_unpack(records))


def pack_ids(ids: Sequence[int]) -> bytes:
    """Ids, 8 octets each."""
    return struct.pack(f"<{len(ids)}Q", *ids)


def unpack_ids(records: bytes) -> tuple[int, ...]:
    """The ids again; ProtocolError where the octets are no whole ids."""
    if len(records) % 8:
        raise ProtocolError("ids are records of 8 octets")
    return struct.unpack(f"<{len(records) // 8}Q", records)
