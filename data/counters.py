"""The history's counters: what one is, how it grows, and what each is called."""

import math
from dataclasses import dataclass

from data.schema import Message

DAY = 86_400.0
MONTH = 30 * DAY
PROMPT, QUICK = DAY, 3_600.0  # seconds: a reaction in time, as the benchmark's label has it, and one at once


@dataclass(frozen=True, slots=True)
class Counter:
    """How often, when last (seconds since the epoch; 0.0 never) and what it points to (63 bits; 0 nothing)."""

    count: int = 0
    last: float = 0.0
    link: int = 0


@dataclass(frozen=True, slots=True)
class Increment:
    """A counter's growth: `count` is added, `last` becomes the later of the two, `link` is kept if there was one."""

    key: str
    count: int
    at: float
    link: int = 0


@dataclass(frozen=True, slots=True)
class Reaction:
    """A counter that a reaction grows by one if it comes `until` then (seconds since the epoch, or infinity)."""

    key: str
    until: float = math.inf


def grow(counter: Counter, increment: Increment) -> Counter:
    """The counter after the increment; the order of increments does not matter, except that the first link stays."""
    return Counter(counter.count + increment.count, max(counter.last, increment.at), counter.link or increment.link)


def habits(message: Message, recipient: str) -> tuple[str, ...]:
    """What a mail is an instance of to its recipient: each is counted when such mail comes and when it is acted on.

    So is its situation (`situation_of`), which only the counters of its thread can tell.
    """
    return (
        recipient,
        f"{recipient}\n{sort_of(message)}",
        f"{recipient}\n{month_of(message.date)}",
        f"{message.sender}\n>{recipient}",
    )


def situation_of(message: Message, recipient: str, *, is_own: bool) -> str:
    """How the mail addresses the recipient: one of six, apart for each sort of mail."""
    what = "own" if is_own else "re" if message.in_reply_to else "new"
    return f"{'to' if recipient in message.to else 'cc'}+{what}+{sort_of(message)}"


def sort_of(message: Message) -> str:
    """What the mail is, as people sort it before they read: by a machine, a patch, or a letter."""
    if message.is_automated:
        return "machine"
    return "patch" if message.is_patch else "letter"


def hours_of(date: float) -> str:
    """Which three hours of the day (UTC) `date` lies in."""
    return f"{math.floor(date / 10_800) % 8}/8"


def weekday_of(date: float) -> int:
    """0 for Monday to 6 (UTC)."""
    return (math.floor(date / DAY) + 3) % 7


def day_of(date: float) -> int:
    """Which day since the epoch `date` (seconds) lies in."""
    return math.floor(date / DAY)


def month_of(date: float) -> int:
    """Which span of thirty days since the epoch `date` (seconds) lies in."""
    return math.floor(date / MONTH)
