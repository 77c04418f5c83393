"""clarion_pool_v1 as the broker serves it: memory that both sides keep, for bodies too large for a message."""

import os
from typing import TYPE_CHECKING

from serving.queue import memory
from serving.queue.resource import Resource

if TYPE_CHECKING:
    from serving.queue.session import Session

MAX_POOL = 64 << 20
MAX_POOLS = 8


class Pool(Resource):
    """A client's pool. It reads and writes by descriptor and never maps: what the peer does to the memory can neither
    end this process (SIGBUS) nor change what was copied.
    """

    interface_name = "clarion_pool_v1"

    def __init__(self, session: "Session", fd: int, size: int) -> None:
        super().__init__(session)
        self._fd, self.size = fd, size

    def take(self, offset: int, size: int) -> bytes:
        """A copy of a region that a request named; the client is told that the region is its own again."""
        self._check(offset, size)
        octets = memory.read(self._fd, size, offset)
        self.event("taken", offset)
        return octets

    def write(self, offset: int, octets: bytes) -> None:
        """Write into a region of it. Raises OSError when no memory is left."""
        memory.write(self._fd, octets, offset)

    def on_echo(self, serial: int, offset: int, size: int, to: int) -> None:
        """There and back, without the store."""
        self._check(offset, size)
        self._check(to, size)
        memory.write(self._fd, memory.read(self._fd, size, offset), to)
        self.event("echoed", serial)

    def closed(self) -> None:
        """From now on every write to it fails."""
        os.close(self._fd)
        self._fd = -1

    def _check(self, offset: int, size: int) -> None:
        if offset + size > self.size:
            raise self.error("out_of_bounds", f"octets {offset} to {offset + size} of a pool of {self.size}")
