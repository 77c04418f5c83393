"""History replayed over a mailbox: the same fold that serving keeps in store rows, here in a dict."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data.history import Counter, Increment, Place, acted, features, grow, place, seen, sent
from data.schema import Message

_NOTHING = Counter()


class History:
    """Counters that follow a mailbox in order of time."""

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {}
        self._mails: dict[str, Message] = {}
        self._persons: dict[str, str] = {}
        self._places: dict[tuple[str, str], Place] = {}
        self._reacted: set[tuple[str, str]] = set()

    def features(self, message: Message, recipient: str) -> NDArray[np.float32]:
        """What is known now about this pair; ask before the mail is observed."""
        return features(message, recipient, self.counters)

    def observe(self, message: Message) -> None:
        """Count the mail's arrival at everyone it names, and the reaction that it is to the mail it answers."""
        self._answer(message)
        arrived = [seen(message, who, ordinal, self.counters) for ordinal, who in enumerate(message.recipients)]
        for recipient in message.recipients:
            self._places[message.message_id, recipient] = place(message, recipient, self.counters)
        for increments in arrived or [sent(message, self.counters)]:
            self._grow(increments)
        self._persons[message.sender] = message.sender_id
        self._mails[message.message_id] = replace(message, body="")

    def react(self, message: Message, recipient: str, at: float) -> None:
        """Count that the recipient reacted to the mail at `at`, seconds since the epoch; a second time adds nothing."""
        if (message.message_id, recipient) in self._reacted:
            return
        self._reacted.add((message.message_id, recipient))
        where = self._places.get((message.message_id, recipient)) or place(message, recipient, self.counters)
        self._grow(Increment(each.key, 1, at) for each in acted(message, recipient, where) if at <= each.until)

    def _answer(self, reply: Message) -> None:
        parent = self._mails.get(reply.in_reply_to or "")
        recipient = self._whom(parent, reply) if parent else None
        if parent and recipient:
            self.react(parent, recipient, reply.date)

    def _whom(self, parent: Message, reply: Message) -> str | None:
        """The address at which the reply's author received the parent; people answer from other addresses too."""
        if reply.sender in parent.recipients:
            return reply.sender
        same = (address for address in parent.recipients if self._persons.get(address) == reply.sender_id)
        return next(same, None)

    def _grow(self, increments: Iterable[Increment]) -> None:
        counters = self.counters
        for increment in increments:
            counters[increment.key] = grow(counters.get(increment.key, _NOTHING), increment)


def replay(
    messages: Iterable[Message], wanted: Callable[[Message], Iterable[str]]
) -> Iterator[tuple[Message, str, NDArray[np.float32]]]:
    """The features of every pair whose recipient `wanted(message)` names, each as of the moment its mail arrived.

    `messages` must come in order of time; all of them are observed, wanted or not.
    """
    history = History()
    for message in messages:
        for recipient in wanted(message):
            yield message, recipient, history.features(message, recipient)
        history.observe(message)
