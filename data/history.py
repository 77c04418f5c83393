"""What was known about sender, recipient and thread at the moment a mail arrived: one additive fold over counters.

A counter is named by a string; training keeps them in a dict, serving in store rows named by an HMAC of the string.
Whatever is read was written by earlier events: arrivals (`seen`) and reactions (`acted`), never by what became of this
mail later.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.counters import (
    Counter,
    Increment,
    context,
    first_keys,
    grow,
    hours_of,
    month_of,
    received_keys,
    sort_of,
    thread_keys,
)
from data.schema import Message
from data.view import View, rate, thread_root

DAY = 86_400.0

__all__ = (
    "FEATURES",
    "Counter",
    "Increment",
    "Keys",
    "acted",
    "features",
    "grow",
    "keys",
    "seen",
    "sent",
    "thread_root",
)

FEATURES = (
    "is_to",
    "to_count",
    "recipient_count",
    "position",
    "is_reply",
    "same_domain",
    "is_automated",
    "is_patch",
    "weekday",
    "reply_to_own",
    "parent_replies",
    "thread_posts",
    "thread_recipient_posts",
    "thread_sender_posts",
    "thread_received",
    "thread_hours",
    "thread_recipient_hours",
    "recipient_received",
    "recipient_rate",
    "recipient_role_rate",
    "recipient_sort_rate",
    "recipient_month_rate",
    "recipient_acted_hours",
    "recipient_awake",
    "recipient_sent",
    "recipient_sent_month",
    "recipient_sent_hours",
    "sender_sent",
    "sender_sent_month",
    "sender_sent_hours",
    "sender_rate",
    "pair_received",
    "pair_acted",
    "pair_rate",
    "pair_hours",
    "pair_acted_hours",
    "reverse_received",
    "reverse_rate",
    "reverse_hours",
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The counters to read, in two rounds: `second` names those that the links read in the first lead to."""

    first: tuple[str, ...]
    message: Message
    recipient: str

    def second(self, counters: Mapping[str, Counter]) -> tuple[str, ...]:
        """The thread's counters; `counters` holds what was found of the first round."""
        return thread_keys(thread_root(self.message, counters), self.message.sender, self.recipient)


def keys(message: Message, recipient: str) -> Keys:
    """What `features` will ask for. A counter that does not exist may be left out of the mapping."""
    return Keys(first_keys(message, recipient), message, recipient)


def features(message: Message, recipient: str, counters: Mapping[str, Counter]) -> NDArray[np.float32]:
    """The history of sender, recipient and thread just before this mail: float32, (len(FEATURES),), all finite."""
    view = View(message, recipient, counters)
    return np.array(
        [*_address_features(view), *_thread_features(view), *_recipient_features(view), *_pair_features(view)],
        dtype=np.float32,
    )


def seen(message: Message, recipient: str, ordinal: int, counters: Mapping[str, Counter]) -> tuple[Increment, ...]:
    """What the arrival of this notification adds; `counters` are those read for `features` (for its thread).

    Ordinal 0 also brings what the mail adds once, however many receive it.
    """
    root = thread_root(message, counters)
    received = tuple(Increment(key, 1, message.date) for key in received_keys(message, recipient, root))
    return received + sent(message, counters) if ordinal == 0 else received


def sent(message: Message, counters: Mapping[str, Counter]) -> tuple[Increment, ...]:
    """What the mail adds once, whoever receives it; part of `seen` for ordinal 0."""
    sender, at, root = message.sender, message.date, thread_root(message, counters)
    increments = (
        Increment(f"sent\n{sender}", 1, at),
        Increment(f"sent\n{sender}\n{month_of(at)}", 1, at),
        Increment(f"sent\n{sender}\n{hours_of(at)}", 1, at),
        Increment(f"posts\n{root}", 1, at),
        Increment(f"posts\n{root}\n{sender}", 1, at),
        Increment(f"wrote\n{message.message_id}\n{sender}", 1, at),
        Increment(f"thread\n{message.message_id}", 1, at, root),
    )
    if message.in_reply_to is None:
        return increments
    return (*increments, Increment(f"replies\n{message.in_reply_to}", 1, at))


def acted(message: Message, recipient: str) -> tuple[str, ...]:
    """The counters that grow by one when the recipient reacts to this mail; their `at` is the time of the reaction."""
    sender = message.sender
    return (
        f"acted\n{recipient}",
        f"acted\n{recipient}\n{context(message, recipient)}",
        f"acted\n{recipient}\n{sort_of(message)}",
        f"acted\n{recipient}\n{month_of(message.date)}",
        f"acted\n{sender}\n>{recipient}",
        f"answered\n{sender}",
    )


def _address_features(view: View) -> tuple[float, ...]:
    message, recipient = view.message, view.recipient
    addressed = message.to + message.cc
    return (
        float(recipient in message.to),
        float(len(message.to)),
        float(len(addressed)),
        float(addressed.index(recipient) if recipient in addressed else len(addressed)),
        float(message.in_reply_to is not None),
        float(_domain(view.sender) == _domain(recipient)),
        float(message.is_automated),
        float(message.is_patch),
        float((math.floor(message.date / DAY) + 3) % 7),
    )


def _thread_features(view: View) -> tuple[float, ...]:
    parent, root = view.message.in_reply_to, view.root
    return (
        float(parent is not None and view.count(f"wrote\n{parent}\n{view.recipient}") > 0),
        float(view.count(f"replies\n{parent}") if parent else 0),
        float(view.count(f"posts\n{root}")),
        float(view.count(f"posts\n{root}\n{view.recipient}")),
        float(view.count(f"posts\n{root}\n{view.sender}")),
        float(view.count(f"heard\n{root}\n{view.recipient}")),
        view.hours(f"posts\n{root}"),
        view.hours(f"posts\n{root}\n{view.recipient}"),
    )


def _recipient_features(view: View) -> tuple[float, ...]:
    who, how, what = view.recipient, context(view.message, view.recipient), sort_of(view.message)
    base = rate(view.count(f"acted\n{who}"), view.count(f"received\n{who}"))
    return (
        float(view.count(f"received\n{who}")),
        base,
        rate(view.count(f"acted\n{who}\n{how}"), view.count(f"received\n{who}\n{how}"), base),
        rate(view.count(f"acted\n{who}\n{what}"), view.count(f"received\n{who}\n{what}"), base),
        rate(view.recent(f"acted\n{who}"), view.recent(f"received\n{who}"), base),
        view.hours(f"acted\n{who}"),
        (view.count(f"sent\n{who}\n{hours_of(view.message.date)}") + 1) / (view.count(f"sent\n{who}") + 8),
        *_sent_features(view, who),
    )


def _pair_features(view: View) -> tuple[float, ...]:
    sender, who = view.sender, view.recipient
    base = rate(view.count(f"acted\n{who}"), view.count(f"received\n{who}"))
    pair, reverse = f"{sender}\n>{who}", f"{who}\n>{sender}"
    return (
        *_sent_features(view, sender),
        rate(view.count(f"answered\n{sender}"), view.count(f"addressed\n{sender}")),
        float(view.count(f"received\n{pair}")),
        float(view.count(f"acted\n{pair}")),
        rate(view.count(f"acted\n{pair}"), view.count(f"received\n{pair}"), base),
        view.hours(f"received\n{pair}"),
        view.hours(f"acted\n{pair}"),
        float(view.count(f"received\n{reverse}")),
        rate(view.count(f"acted\n{reverse}"), view.count(f"received\n{reverse}")),
        view.hours(f"received\n{reverse}"),
    )


def _sent_features(view: View, who: str) -> tuple[float, ...]:
    return float(view.count(f"sent\n{who}")), float(view.recent(f"sent\n{who}")), view.hours(f"sent\n{who}")


def _domain(address: str) -> str:
    return address.rpartition("@")[2]
