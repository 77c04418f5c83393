"""What recipients wish: a JSON object of the enrolled recipient, of which every field may be absent.

| field | what it says |
|---|---|
| `not_urgent` | what becomes of mail that is not urgent: `digest` (the default), `delay`, `discard` or `deliver` |
| `digest_every` | a digest after so many seconds, counted from the epoch |
| `digest_at` | times of day of the digest instead: `["07:30", "18:00"]` |
| `digest_on` | one day of the week for it: `monday`; at 08:00 where no time is given |
| `delay` | seconds for which mail is delayed |
| `zone` | the time zone of all times of day, by its IANA name; UTC otherwise |
| `quiet` | `["22:00", "07:00"]`: nothing that is not urgent arrives between the two |
| `urgent` | what is urgent `overrides` quiet hours (the default), or `waits` for their end |
| `lists` | senders and words that always or never pass (`serving.wishes.lists`), sealed, in hexadecimal |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import time
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from serving.wishes.hours import DAYS, UTC, Quiet, Times

Value = TypeVar("Value")
Ending = Literal["digest", "delay", "discard", "deliver"]

SHORTEST_INTERVAL = 60.0
LONGEST_INTERVAL = 30 * 86_400.0
WEEK = 7 * 86_400.0
MORNING = time(8)
MOST_TIMES = 24

_ENDINGS: Mapping[object, Ending] = {
    "digest": "digest", "delay": "delay", "discard": "discard", "deliver": "deliver",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a recipient wants. Durations in seconds; `lists` is sealed, empty where there are none."""

    not_urgent: Ending = "digest"
    digest_every: float = 86_400.0
    delay: float = 3_600.0
    digest_at: Times | None = None
    quiet: Quiet | None = None
    urgent_waits: bool = False
    zone: ZoneInfo = UTC
    lists: bytes = b""

    @classmethod
    def read(cls, stored: Mapping[str, Any], defaults: "Wishes | None" = None) -> "Wishes":
        """The stored wishes; whatever is absent or makes no sense falls back to the defaults."""
        default = defaults or cls()

        def wish(name: str, read: Callable[[Any], Value], otherwise: Value) -> Value:
            try:
                return read(stored[name])
            except (KeyError, ValueError):
                return otherwise

        zone = wish("zone", read_zone, default.zone)
        nothing: tuple[time, ...] = ()
        times, day = wish("digest_at", read_times, nothing), wish("digest_on", read_day, None)
        hours = wish("quiet", read_hours, None)
        return cls(
            wish("not_urgent", read_ending, default.not_urgent),
            _bounded(wish("digest_every", read_seconds, default.digest_every)),
            _bounded(wish("delay", read_seconds, default.delay)),
            default.digest_at if not times and day is None else Times(times or (MORNING,), zone, day),
            default.quiet if hours is None else Quiet(*hours, zone),
            wish("urgent", read_urgent, default.urgent_waits),
            zone,
            wish("lists", _read_octets, b""),
        )

    def next_digest(self, now: float) -> float:
        """When the next digest after `now` is due; all mail before it falls due together. Never in quiet hours."""
        if self.digest_at is not None:
            return self.after_quiet(self.digest_at.next_after(now))
        return self.after_quiet((now // self.digest_every + 1) * self.digest_every)

    def after_quiet(self, at: float) -> float:
        """The end of the quiet hours around `at`, or `at` itself."""
        return at if self.quiet is None else self.quiet.over(at)


def fewer_digests(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored wishes with one digest a week at most, on Mondays unless another day is wished; as they are where
    digests are as rare already."""
    wishes = Wishes.read(stored)
    if wishes.digest_at is None and wishes.digest_every >= WEEK:
        return dict(stored)
    day = stored.get("digest_on")
    first = stored.get("digest_at", [])[:1] if isinstance(stored.get("digest_at"), list) else []
    kept = {name: value for name, value in stored.items() if name not in ("digest_every", "digest_at", "digest_on")}
    return {**kept, **({"digest_at": first} if first else {}), "digest_on": day if day in DAYS else DAYS[0]}


def read_ending(value: object) -> Ending:
    """Raises ValueError, as the others do, with what would be taken."""
    if not isinstance(value, str) or value not in _ENDINGS:
        raise ValueError("what is not urgent is for digest, delay, discard or deliver")
    return _ENDINGS[value]


def read_seconds(value: object) -> float:
    """More than 0; whoever checks wishes at the door wants it within the bounds too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError("a duration is a number above 0")
    return float(min(value, LONGEST_INTERVAL))


def read_zone(value: object) -> ZoneInfo:
    """By its IANA name."""
    try:
        return ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        raise ValueError("there is no such time zone; name one like Europe/Berlin") from None


def read_time(value: object) -> time:
    """A time of day in minutes."""
    text = str(value)
    try:
        found = time.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or text != f"{found:%H:%M}":
        raise ValueError("a time of day is written as 07:30")
    return found


def read_times(value: object) -> tuple[time, ...]:
    """One or more times of day."""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_TIMES:
        raise ValueError(f"a day has 1 to {MOST_TIMES} digests")
    return tuple(sorted({read_time(each) for each in value}))


def read_day(value: object) -> int:
    """A day of the week."""
    if value not in DAYS:
        raise ValueError("a day of the week is written as monday")
    return DAYS.index(str(value))


def read_hours(value: object) -> tuple[time, time]:
    """Quiet hours: two times of day that differ."""
    start, end = map(read_time, value) if isinstance(value, list) and len(value) == 2 else (MORNING, MORNING)
    if start == end:
        raise ValueError("quiet hours are written as 22:00-07:00")
    return start, end


def read_urgent(value: object) -> bool:
    """Whether what is urgent waits for the end of quiet hours."""
    if value not in ("overrides", "waits"):
        raise ValueError("what is urgent overrides quiet hours, or waits")
    return value == "waits"


def _read_octets(value: object) -> bytes:
    return bytes.fromhex(str(value))


def _bounded(seconds: float) -> float:
    return max(seconds, SHORTEST_INTERVAL)
