"""A pool as its client has it: a memfd, mapped, whose regions carry one large body after the other."""

import mmap
import os
from typing import Any

from serving.errors import ProtocolError
from serving.queue import memory
from serving.queue.regions import Regions


class OwnPool:
    """`size` octets. For what is sent `put` gives out regions; for what arrives the broker does, and `get` copies."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._regions = Regions(size)
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

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.fd)

    def on_event(self, name: str, values: list[Any]) -> None:
        """clarion_pool_v1's events: a region is free again."""
        if name == "taken" and not self.free(values[0]):
            raise ProtocolError("the broker took a region that was not sent")
