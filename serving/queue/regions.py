"""Which octets of a pool are given out; whoever gives them out keeps this, on either side."""

from bisect import insort

_ALIGNED = 64


class Regions:
    """Which octets of a pool are given out: the first gap that is large enough, from the front."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._given: list[tuple[int, int]] = []  # begin and end, in order

    def take(self, size: int) -> int | None:
        """The offset of a free region of that many octets, now given out; None where there is none."""
        begin = 0
        for taken, end in self._given:
            if begin + size <= taken:
                break
            begin = -(-end // _ALIGNED) * _ALIGNED
        if begin + size > self._size:
            return None
        insort(self._given, (begin, begin + size))
        return begin

    def give_back(self, offset: int) -> bool:
        """Whether the region that begins there was given out; it is free now."""
        at = next((at for at, (begin, _) in enumerate(self._given) if begin == offset), None)
        if at is None:
            return False
        del self._given[at]
        return True
