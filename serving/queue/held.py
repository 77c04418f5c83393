"""What a consumer was leased and has not ended, by id, and how large it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ANY_SIZE = 1 << 62


@dataclass(slots=True)
class Held:
    """Fences by id; the bodies have at most `most` octets together, and one body more. What a client names after it
    connected again counts as nothing: its body is not sent again."""

    most: int = ANY_SIZE
    fences: dict[int, int] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)
    _octets: int = 0

    @property
    def room(self) -> int:
        """Octets of bodies that may come in beside these; none where it is 0 or less."""
        return self.most - self._octets

    def add(self, id_: int, fence: int, octets: int) -> None:
        """A lease with a body of so many octets; it replaces an older one of the same notification."""
        self._forget(id_)
        self.fences[id_], self._sizes[id_] = fence, octets
        self._octets += octets

    def drop(self, id_: int, fence: int) -> bool:
        """Whether that lease was there, and is not any more; a newer one of the same notification stays."""
        if self.fences.get(id_) != fence:
            return False
        del self.fences[id_]
        self._forget(id_)
        return True

    def start_over(self, named: Mapping[int, int]) -> None:
        """These alone."""
        self.fences, self._sizes, self._octets = dict(named), {}, 0

    def _forget(self, id_: int) -> None:
        self._octets -= self._sizes.pop(id_, 0)
