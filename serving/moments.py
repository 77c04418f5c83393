"""A moment as mail writes it."""

from datetime import UTC, datetime
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def written(date: datetime) -> str:
    """The moment in UTC, to its second, as RFC 5322 section 3.3 wants it."""
    return _second_written(date.replace(microsecond=0))


@lru_cache(maxsize=64)
def _second_written(date: datetime) -> str:
    """Where mail passes by the thousand a second, a thousand have the same; the standard library's function takes
    several times as long as this one, which is seen beside the sealing of a small mail."""
    date = date.astimezone(UTC)
    day, clock = f"{_DAYS[date.weekday()]}, {date.day:02}", f"{date.hour:02}:{date.minute:02}:{date.second:02}"
    return f"{day} {_MONTHS[date.month - 1]} {date.year:04} {clock} +0000"
