"""A mail on its way in, up to its end: counted, bounded, and ended by nothing but CRLF, a dot and CRLF."""

from serving.intake.door import Door
from serving.intake.replies import BUSY, TOO_LARGE

END = b"\r\n.\r\n"
"""Nothing else ends a mail (RFC 5321 section 4.1.1.4): what other servers take for an end is how mail is smuggled."""
_LINE_BEFORE = b"\r\n"  # which DATA ends with: a mail may begin with its end


class Reception:
    """Collects the octets behind 354; of a mail that is not taken only the end is waited for: `refusal` says why."""

    def __init__(self, door: Door, largest: int, *, stranger: bool = False) -> None:
        """`stranger`: nobody knows who sends it."""
        self._door, self._largest, self._stranger = door, largest, stranger
        self._data = bytearray(_LINE_BEFORE)
        self._held = 0
        self.refusal: str | None = None

    @property
    def data(self) -> bytes:
        """What came up to the end, transparency and all."""
        return bytes(memoryview(self._data)[len(_LINE_BEFORE) :])

    def feed(self, octets: bytes) -> bytes | None:
        """What came behind the end of the mail; None while it has none."""
        start = max(len(self._data) - len(END) + 1, 0)
        self._data += octets
        end = self._data.find(END, start)
        rest = None if end < 0 else bytes(memoryview(self._data)[end + len(END) :])
        if rest is not None:
            del self._data[end + len(_LINE_BEFORE) :]
        self._count(len(octets))
        return rest

    def let_go(self) -> None:
        """It is in the store, or refused: there is room for others."""
        self._door.let_go(self._held, stranger=self._stranger)
        self._held = 0

    def _count(self, octets: int) -> None:
        if self.refusal is None and len(self._data) - len(_LINE_BEFORE) > self._largest:
            self.refusal = TOO_LARGE
        if self.refusal is None and not self._door.hold(octets, stranger=self._stranger):
            self.refusal = BUSY
        if self.refusal is None:
            self._held += octets
            return
        self.let_go()
        del self._data[: 1 - len(END)]
