"""Times of day in a time zone, through every change of its clocks.

A time that is skipped when clocks go forward comes as much later as they do (02:30 is then 03:30); one that happens
twice when they go back counts the first time alone. PEP 495 calls that `fold=0`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

UTC = ZoneInfo("UTC")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class Times:
    """Times of day in a zone, each day or on one `weekday` (0 is Monday)."""

    times: tuple[time, ...]
    zone: ZoneInfo = UTC
    weekday: int | None = None

    def next_after(self, now: float) -> float:
        """The first of them after `now`; both are seconds since the epoch."""
        return min(moment for moment in self._around(now) if moment > now)

    def _around(self, now: float) -> Iterator[float]:
        """From yesterday, whose last time may be skipped into today, to beyond the week's end."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for days in range(-1, 16):
            day = today + timedelta(days)
            if self.weekday in (None, day.weekday()):
                yield from (self._at(day, each) for each in self.times)

    def _at(self, day: date, of_day: time) -> float:
        return datetime.combine(day, of_day, self.zone).timestamp()


@dataclass(frozen=True, slots=True)
class Quiet:
    """From one time of day to another in a zone, over midnight where that is earlier; none where both are the same."""

    start: time
    end: time
    zone: ZoneInfo = UTC

    def over(self, at: float) -> float:
        """When the quiet hours around `at` are over; `at` itself outside of them. Seconds since the epoch."""
        ends = Times((self.end,), self.zone).next_after(at)
        return ends if ends < Times((self.start,), self.zone).next_after(at) else at
