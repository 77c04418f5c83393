"""What was known about sender, recipient and thread at the moment a mail arrived: one additive fold over counters.

A counter is named by a string; training keeps them in a dict, serving in store rows named by an HMAC of the string.
Whatever is read was written by earlier events: arrivals (`seen`) and reactions (`acted`), never by what became of this
mail later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.counters import (
    PROMPT,
    QUICK,
    Counter,
    Increment,
    Reaction,
    day_of,
    grow,
    habits,
    hours_of,
    month_of,
)
from data.form import FORM, form
from data.persons import first_name
from data.schema import Message
from data.social import SOCIAL, social
from data.view import View, thread_root, writer

__all__ = (
    "FEATURES",
    "FORM",
    "SOCIAL",
    "Counter",
    "Increment",
    "Keys",
    "Place",
    "Reaction",
    "acted",
    "features",
    "grow",
    "keys",
    "place",
    "seen",
    "sent",
    "thread_root",
)

FEATURES = SOCIAL + FORM


@dataclass(frozen=True, slots=True)
class Keys:
    """The counters to read, in two rounds: `second` names those that the links read in the first lead to."""

    first: tuple[str, ...]
    message: Message
    recipient: str

    def second(self, counters: Mapping[str, Counter]) -> tuple[str, ...]:
        """What thread, persons and situation lead to; `counters` holds what was found of the first round."""
        view = View(self.message, self.recipient, counters)
        day, me, root = day_of(view.message.date), view.me, view.root
        return (
            f"posts\n{root}",
            f"posts\n{root}\n{view.writer}",
            f"posts\n{root}\n{me}",
            f"heard\n{root}\n{self.recipient}",
            f"acted\n@{me}",
            *(f"sent\n@{me}{when}" for when in ("", f"\n{day}", f"\n{day - 1}")),
            f"sent\n@{me}\n{hours_of(view.message.date)}",
            *(f"{verb}\n{self.recipient}\n{view.situation}" for verb in ("received", "prompt")),
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Who the recipient was known to be when the mail came (data.persons), and how it addressed them."""

    me: int
    situation: str


def keys(message: Message, recipient: str) -> Keys:
    """What `features` will ask for. A counter that does not exist may be left out of the mapping."""
    sender, month, parent = message.sender, month_of(message.date), message.in_reply_to
    named = (*habits(message, recipient), f"{recipient}\n{month - 1}", f"{recipient}\n>{sender}")
    first = (
        *((f"thread\n{parent}", f"wrote\n{parent}", f"replies\n{parent}") if parent else ()),
        *(f"{verb}\n{habit}" for habit in named for verb in ("received", "prompt")),
        *(f"acted\n{habit}" for habit in (recipient, f"{sender}\n>{recipient}")),
        *(f"sent\n{who}{when}" for who in (sender, recipient) for when in ("", f"\n{month}", f"\n{month - 1}")),
        *(f"person\n{who}" for who in (sender, recipient)),
        f"first\n{recipient}",
        f"quick\n{recipient}",
        f"addressed\n{sender}",
        f"answered\n{sender}",
    )
    return Keys(first, message, recipient)


def features(message: Message, recipient: str, counters: Mapping[str, Counter]) -> NDArray[np.float32]:
    """History and form of this mail just before it arrived: float32, (len(FEATURES),), all finite."""
    view = View(message, recipient, counters)
    name = counters.get(f"first\n{recipient}", Counter()).link
    return np.array([*social(view), *form(message, recipient, name)], dtype=np.float32)


def seen(message: Message, recipient: str, ordinal: int, counters: Mapping[str, Counter]) -> tuple[Increment, ...]:
    """What the arrival of this notification adds; `counters` are those read for `features`.

    Ordinal 0 also brings what the mail adds once, however many receive it.
    """
    view = View(message, recipient, counters)
    names = (
        *(f"received\n{habit}" for habit in habits(message, recipient)),
        f"received\n{recipient}\n{view.situation}",
        f"addressed\n{message.sender}",
        f"heard\n{view.root}\n{recipient}",
    )
    received = tuple(Increment(name, 1, message.date) for name in names)
    return received + sent(message, counters) if ordinal == 0 else received


def sent(message: Message, counters: Mapping[str, Counter]) -> tuple[Increment, ...]:
    """What the mail adds once, whoever receives it; part of `seen` for ordinal 0."""
    sender, at, root, me = message.sender, message.date, thread_root(message, counters), writer(message, counters)
    increments = (
        Increment(f"sent\n{sender}", 1, at),
        Increment(f"sent\n{sender}\n{month_of(at)}", 1, at),
        *(Increment(f"sent\n@{me}{when}", 1, at) for when in ("", f"\n{day_of(at)}", f"\n{hours_of(at)}")),
        Increment(f"person\n{sender}", 1, at, me),
        Increment(f"first\n{sender}", 1, at, first_name(message)),
        Increment(f"posts\n{root}", 1, at),
        Increment(f"posts\n{root}\n{me}", 1, at),
        Increment(f"wrote\n{message.message_id}", 1, at, me),
        Increment(f"thread\n{message.message_id}", 1, at, root),
    )
    if message.in_reply_to is None:
        return increments
    return (*increments, Increment(f"replies\n{message.in_reply_to}", 1, at))


def place(message: Message, recipient: str, counters: Mapping[str, Counter]) -> Place:
    """What a later reaction to this mail must know of its arrival; `counters` are those read for `features`."""
    view = View(message, recipient, counters)
    return Place(view.me, view.situation)


def acted(message: Message, recipient: str, where: Place) -> tuple[Reaction, ...]:
    """The counters that grow by one when the recipient reacts to this mail; their `at` is the time of the reaction."""
    sender, in_time = message.sender, message.date + PROMPT
    return (
        *(Reaction(f"acted\n{who}") for who in (recipient, f"{sender}\n>{recipient}", f"@{where.me}")),
        *(Reaction(f"prompt\n{habit}", in_time) for habit in habits(message, recipient)),
        Reaction(f"prompt\n{recipient}\n{where.situation}", in_time),
        Reaction(f"answered\n{sender}", in_time),
        Reaction(f"quick\n{recipient}", message.date + QUICK),
    )
