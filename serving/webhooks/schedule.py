"""When an event is sent again: the waits that the Standard Webhooks specification recommends, jittered."""

from dataclasses import dataclass
from random import Random

MINUTE, HOUR = 60.0, 3_600.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds between one attempt and the next, ± `jitter` (a share); after the last of them an event is given up.

    A receiver may ask for more time (`Retry-After`), up to `longest` seconds.
    """

    waits: tuple[float, ...] = (
        5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR,
    )  # fmt: skip
    jitter: float = 0.1
    longest: float = 24 * HOUR

    def delay(self, attempt: int, asked: float, random: Random) -> float | None:
        """Seconds to wait after the attempt (1 = first) has failed, None where it was the last one.

        `asked` is what the receiver asked for, 0.0 for nothing.
        """
        if attempt > len(self.waits):
            return None
        wait = self.waits[max(attempt, 1) - 1] * random.uniform(1 - self.jitter, 1 + self.jitter)
        return max(wait, min(asked, self.longest))


STANDARD = Schedule()
