"""A pool as its client has it: a memfd, mapped, whose regions carry one large body after the other."""

import mmap
import os
from typing import Any

from serving.errors import ProtocolError, Refused
from serving.queue import memory
from serving.queue.regions import Regions


class OwnPool:
    """`size` octets. For what is sent `put` gives out regions; for what arrives the broker does, and `get` copies."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._regions = Regions(size)
        self._echoes: dict[int, tuple[int, int, int]] = {}
        self.fd = os.memfd_create("clarion-pool", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, size)
            memory.fix_size(self.fd)
            self._memory = mmap.mmap(self.fd, size)
        except BaseException:
            os.close(self.fd)
            raise

    def take(self, size: int) -> int | None:
        """The offset of a free region, given out; None where there is none."""
        return self._regions.take(size)

    def free(self, offset: int) -> bool:
        """Whether the region was given out; it is free now."""
        return self._regions.give_back(offset)

    def put(self, octets: bytes) -> int | None:
        """Copy octets into a free region and return its offset; None where there is no room for them."""
        offset = self.take(len(octets))
        if offset is not None:
            self._memory[offset : offset + len(octets)] = octets
        return offset

    def get(self, offset: int, size: int) -> bytes:
        """A copy of a region. ProtocolError when it does not lie in the pool."""
        if offset + size > self.size:
            raise ProtocolError("the broker names a region that does not lie in the pool")
        return self._memory[offset : offset + size]

    def begin_echo(self, serial: int, octets: bytes) -> tuple[int, int]:
        """Where the octets lie and where they are to come back: both are given out until the answer comes, whoever
        stopped waiting for it. Refused `too_large` where there is no room for twice as many."""
        sent, back = self.put(octets), self.take(len(octets))
        if sent is None or back is None:
            if sent is not None:
                self.free(sent)
            raise Refused("too_large", "the pool has no room for that")
        self._echoes[serial] = sent, back, len(octets)
        return sent, back

    def echoed(self, serial: int) -> bytes:
        """What came back. ProtocolError when nothing was sent under this serial."""
        if serial not in self._echoes:
            raise ProtocolError("the broker echoed what was not sent")
        sent, back, size = self._echoes.pop(serial)
        octets = self.get(back, size)
        self.free(sent)
        self.free(back)
        return octets

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.fd)

    def on_event(self, name: str, values: list[Any]) -> None:
        """clarion_pool_v1's events: a region is free again."""
        if name == "taken" and not self.free(values[0]):
            raise ProtocolError("the broker took a region that was not sent")
