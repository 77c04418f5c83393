"""The counters of one pair as a feature reads them: counts, rates, and time as hours before the mail."""

from collections.abc import Mapping

from data.counters import Counter, month_of, situation_of
from data.persons import hashed, named, person
from data.schema import Message

HOUR = 3_600.0
NEVER = 87_600.0  # hours, ten years: what recency says of something that has not happened
PRIOR, WEIGHT = 0.1, 4.0  # a rate starts as PRIOR and is believed like WEIGHT observations


def thread_root(message: Message, counters: Mapping[str, Counter]) -> int:
    """The thread's name, a 63-bit hash of its oldest known message-id; siblings of an unknown parent share it."""
    if message.in_reply_to is None:
        return hashed(message.message_id)
    return counters.get(f"thread\n{message.in_reply_to}", Counter()).link or hashed(message.in_reply_to)


class View:
    """The counters of one pair, by name, with time as hours before the mail.

    `me` and `writer` are the persons behind the recipient's and the sender's address (data.persons).
    """

    __slots__ = ("counters", "is_own", "me", "message", "month", "recipient", "root", "sender", "situation", "writer")

    def __init__(self, message: Message, recipient: str, counters: Mapping[str, Counter]) -> None:
        self.message, self.recipient, self.counters = message, recipient, counters
        self.sender, self.month, self.root = message.sender, month_of(message.date), thread_root(message, counters)
        self.me, self.writer = person(recipient, counters), writer(message, counters)
        parent = counters.get(f"wrote\n{message.in_reply_to}")
        self.is_own = parent is not None and parent.link == self.me
        self.situation = situation_of(message, recipient, is_own=self.is_own)

    def count(self, key: str) -> int:
        counter = self.counters.get(key)
        return counter.count if counter else 0

    def hours(self, key: str) -> float:
        counter = self.counters.get(key)
        if counter is None or counter.last == 0.0:
            return NEVER
        return min(max((self.message.date - counter.last) / HOUR, 0.0), NEVER)

    def recent(self, prefix: str) -> int:
        """The count of this and the last month."""
        return self.count(f"{prefix}\n{self.month}") + self.count(f"{prefix}\n{self.month - 1}")

    def prompt(self, habit: str, prior: float = PRIOR) -> float:
        """The share of such mail that was acted on in time."""
        return rate(self.count(f"prompt\n{habit}"), self.count(f"received\n{habit}"), prior)


def writer(message: Message, counters: Mapping[str, Counter]) -> int:
    """The person who wrote the mail: whoever first wrote from that address, else who this mail says."""
    known = counters.get(f"person\n{message.sender}")
    return known.link if known and known.link else named(message)


def rate(hits: int, trials: int, prior: float = PRIOR) -> float:
    """hits / trials, pulled towards `prior` while there are few trials."""
    return (hits + prior * WEIGHT) / (trials + WEIGHT)
