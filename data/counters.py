"""The history's counters: what one is, how it grows, and what each is called."""

import math
from dataclasses import dataclass

from data.schema import Message

MONTH = 30 * 86_400.0


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


def grow(counter: Counter, increment: Increment) -> Counter:
    """The counter after the increment; the order of increments does not matter, except that the first link stays."""
    return Counter(counter.count + increment.count, max(counter.last, increment.at), counter.link or increment.link)


def received_keys(message: Message, recipient: str, root: int) -> tuple[str, ...]:
    """What every notification counts; `root` names its thread."""
    sender = message.sender
    return (
        f"received\n{recipient}",
        f"received\n{recipient}\n{context(message, recipient)}",
        f"received\n{recipient}\n{sort_of(message)}",
        f"received\n{recipient}\n{month_of(message.date)}",
        f"received\n{sender}\n>{recipient}",
        f"addressed\n{sender}",
        f"heard\n{root}\n{recipient}",
    )


def first_keys(message: Message, recipient: str) -> tuple[str, ...]:
    """Everything that can be named from the mail alone: sender, recipient, the two together, and the mail answered."""
    sender, month = message.sender, month_of(message.date)
    how, what = context(message, recipient), sort_of(message)
    parent = message.in_reply_to
    thread = (f"thread\n{parent}", f"wrote\n{parent}\n{recipient}", f"replies\n{parent}") if parent else ()
    return (
        *thread,
        *(
            f"{verb}\n{rest}"
            for verb in ("received", "acted")
            for rest in (
                recipient,
                f"{recipient}\n{how}",
                f"{recipient}\n{what}",
                f"{recipient}\n{month}",
                f"{recipient}\n{month - 1}",
                f"{sender}\n>{recipient}",
                f"{recipient}\n>{sender}",
            )
        ),
        *(f"sent\n{who}{when}" for who in (sender, recipient) for when in ("", f"\n{month}", f"\n{month - 1}")),
        f"sent\n{recipient}\n{hours_of(message.date)}",
        f"addressed\n{sender}",
        f"answered\n{sender}",
    )


def thread_keys(root: int, sender: str, recipient: str) -> tuple[str, ...]:
    """What happened in the thread `root`, at all and by these two."""
    return f"posts\n{root}", f"posts\n{root}\n{sender}", f"posts\n{root}\n{recipient}", f"heard\n{root}\n{recipient}"


def context(message: Message, recipient: str) -> str:
    """The way in which the mail addresses the recipient: one of four."""
    return ("to" if recipient in message.to else "cc") + ("+re" if message.in_reply_to else "+new")


def sort_of(message: Message) -> str:
    """What the mail is, as people sort it before they read: by a machine, a patch, or a letter."""
    if message.is_automated:
        return "machine"
    return "patch" if message.is_patch else "letter"


def hours_of(date: float) -> str:
    """Which three hours of the day (UTC) `date` lies in."""
    return f"{math.floor(date / 10_800) % 8}/8"


def month_of(date: float) -> int:
    """Which span of thirty days since the epoch `date` (seconds) lies in."""
    return math.floor(date / MONTH)
