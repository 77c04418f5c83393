"""The Wayland wire's framing: whole messages out of whatever a socket gave."""

from collections.abc import Iterator

from serving.errors import ProtocolError
from serving.queue.wire import HEADER, MAX_MESSAGE


class Frames:
    """Keeps the beginning of a message until its end has come."""

    def __init__(self) -> None:
        self._unread = b""

    def whole(self, octets: bytes) -> Iterator[tuple[int, int, memoryview]]:
        """Object id, opcode and payload of every message that these octets end; what a caller does not take is lost.

        ProtocolError for a length that no message has.
        """
        octets = self._unread + octets
        view, position, end = memoryview(octets), 0, len(octets)
        while end - position >= HEADER.size:
            object_id, word = HEADER.unpack_from(octets, position)
            size = word >> 16
            if size < HEADER.size or size % 4 or size > MAX_MESSAGE:
                raise ProtocolError(f"a message of {size} octets")
            if end - position < size:
                break
            position += size
            yield object_id, word & 0xFFFF, view[position - size + HEADER.size : position]
        self._unread = octets[position:]
