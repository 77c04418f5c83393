"""When to try again: exponential, jittered, capped; a value, so that a demo can be quick and a test exact."""

from dataclasses import dataclass
from random import Random

_LARGEST_EXPONENT = 64


@dataclass(frozen=True, slots=True)
class Schedule:
    """The n-th wait is `first` × `factor`ⁿ ± `jitter` (a share) seconds and never longer than `cap` seconds."""

    first: float = 60.0
    factor: float = 1.5
    jitter: float = 0.2
    cap: float = 3600.0

    def delay(self, attempt: int, random: Random) -> float:
        """Seconds to wait after the attempt (1 = first) has failed."""
        return random.uniform(*self.bounds(attempt))

    def bounds(self, attempt: int) -> tuple[float, float]:
        """The shortest and the longest wait after the attempt, in seconds."""
        exponent = min(max(attempt - 1, 0), _LARGEST_EXPONENT)
        # The cap allows for the jitter, so that a crowd that reached it stays spread out.
        middle = min(self.first * self.factor**exponent, self.cap / (1 + self.jitter))
        return middle * (1 - self.jitter), middle * (1 + self.jitter)


PATIENT = Schedule()
