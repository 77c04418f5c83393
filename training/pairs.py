"""The examples of a run: every (message, recipient) of the tables with its text, its history then, and its label."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from data.history import FEATURES
from data.replay import replay
from data.schema import Interaction, Message
from data.table import count_rows, read_interactions, read_messages
from training.progress import bar
from training.render import WORDS, Example, render

DAY = 86_400.0

Row = tuple[Message, str, NDArray[np.float32]]
Key = tuple[str, str, str]  # list, message_id, recipient
Listed = TypeVar("Listed", Message, Interaction)


class BadPairs(ValueError):
    """Nothing can be learned from these tables; the message says why."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Aligned columns of N pairs: `labels` int64 of 0 and 1, `dates` float64 seconds, `features` float32 (N, F).

    `people` says who a recipient is under whatever address; `settled` is when the label was known, seconds: at the
    reply, or a day after the mail.
    """

    texts: tuple[str, ...]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    dates: NDArray[np.float64]
    recipients: tuple[str, ...]
    automated: NDArray[np.bool_]
    senders: tuple[str, ...]
    people: tuple[str, ...]
    settled: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[np.intp]) -> "Pairs":
        """The pairs of these rows, in that order."""
        return Pairs(*(_taken(getattr(self, field.name), rows) for field in fields(self)))

    def rows_between(self, start: float, end: float) -> NDArray[np.intp]:
        """Which rows hold mail that arrived at or after `start` and before `end`."""
        return np.flatnonzero((self.dates >= start) & (self.dates < end))

    def between(self, start: float, end: float) -> "Pairs":
        """The pairs whose mail arrived at or after `start` and before `end`."""
        return self.take(self.rows_between(start, end))

    def draw(self, count: int, seed: int) -> "Pairs":
        """`count` pairs drawn without replacement, in order of time; all of them where count is 0 or too many."""
        if not 0 < count < len(self):
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))

    def draw_mails(self, count: int, seed: int) -> "Pairs":
        """All pairs of mails drawn until there are about `count`, in order of time; every pair where count is 0."""
        return self.take(self.split_by_mail(count, seed)[0])

    def split_by_mail(self, count: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The rows of about `count` pairs, all of each mail drawn, and those of the other mails; 0 takes all."""
        if not 0 < count < len(self):
            return np.arange(len(self)), np.zeros(0, dtype=np.intp)
        codes = self.mails()[1]
        order = np.random.default_rng(seed).permutation(codes.max() + 1)
        kept = order[: np.searchsorted(np.cumsum(np.bincount(codes)[order]), count) + 1]
        is_drawn = np.isin(codes, kept)
        return np.flatnonzero(is_drawn), np.flatnonzero(~is_drawn)

    def mails(self) -> tuple[tuple[str, ...], NDArray[np.intp]]:
        """The different texts, and for each pair which of them is its own."""
        codes: dict[str, int] = {}
        of = np.array([codes.setdefault(text, len(codes)) for text in self.texts], dtype=np.intp)
        return tuple(codes), of

    def joined(self, other: "Pairs") -> "Pairs":
        """These pairs and then the others."""
        return Pairs(*(_chained(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)))

    def examples(self) -> list[Example]:
        """What the artefact's `predict` takes."""
        return [Example(text, features) for text, features in zip(self.texts, self.features, strict=True)]


def load_pairs(
    messages: Path, interactions: Path, label: str, *, only: str = "", without: str = "", text: str = WORDS
) -> Pairs:
    """All pairs in order of time, history folded over every message. Raises BadPairs and data.table.BadTable.

    `only` or `without` names a list: neither mails nor pairs of others, or of this one, are read; history knows nothing
    of them either. `text` is one of training.render's styles.
    """
    if label not in ("replied", "replied_24h"):
        raise BadPairs(f"label = {label!r}: give replied or replied_24h")
    outcomes = {_key(pair): pair for pair in _on_lists(read_interactions(interactions), only, without)}
    _check_list(interactions, only or without)
    if not outcomes:
        raise BadPairs(f"{interactions}: no pair of mail and recipient in it; give a mailbox with recipients")
    wanted: dict[tuple[str, str], list[str]] = defaultdict(list)
    for list_name, message_id, recipient in outcomes:
        wanted[list_name, message_id].append(recipient)
    mails = bar(_on_lists(read_messages(messages), only, without), "history", count_rows(messages), "mail")
    pairs = _collect(replay(mails, lambda mail: wanted.pop((mail.list, mail.message_id), ())), outcomes, label, text)
    if wanted:
        raise BadPairs(
            f"{interactions}: {len(wanted)} of its mails are not in {messages}; give tables that belong together"
        )
    return pairs


def check_labels(pairs: Pairs, what: str) -> None:
    """Raises BadPairs where nothing can be learned or measured because all labels are the same."""
    if len(pairs) == 0:
        raise BadPairs(f"{what}: no pair lies in this span of time; move validation_from and test_from")
    if pairs.labels.min() == pairs.labels.max():
        said = "none was answered" if pairs.labels.max() == 0 else "all were answered"
        raise BadPairs(f"{what}: all {len(pairs)} labels are equal ({said}); give a mailbox with replies and silence")


def check_recipients(pairs: Pairs, what: str) -> None:
    """Raises BadPairs where everything is for one person, so that nothing can be said of others."""
    if len(set(pairs.recipients)) == 1:
        raise BadPairs(f"{what}: all {len(pairs)} pairs have one recipient; give a mailbox of several")


def digest(*paths: Path) -> str:
    """SHA-256 over the files' octets, in this order."""
    whole = sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
    return whole.hexdigest()


def _on_lists(rows: Iterable[Listed], only: str, without: str) -> Iterator[Listed]:
    return (row for row in rows if (not only or row.list == only) and (not without or row.list != without))


def _check_list(interactions: Path, name: str) -> None:
    if not name:
        return
    known = sorted({pair.list for pair in read_interactions(interactions)})
    if name not in known:
        raise BadPairs(f"{interactions}: there is no list {name!r} in it; its lists are {', '.join(known)}")


def _key(pair: Interaction) -> Key:
    return pair.list, pair.message_id, pair.recipient


def _settled(pair: Interaction) -> float:
    """When it was known whether the recipient answered within a day."""
    hours = pair.reply_latency_h
    return pair.date + (min(max(hours * 3_600.0, 0.0), DAY) if hours is not None and math.isfinite(hours) else DAY)


def _collect(rows: Iterable[Row], outcomes: Mapping[Key, Interaction], label: str, style: str) -> Pairs:
    texts, histories, found = [], [], []
    for message, recipient, history in rows:
        texts.append(render(message, recipient, history, style).text)
        histories.append(history)
        pair = outcomes[message.list, message.message_id, recipient]
        found.append(replace(pair, date=message.date, sender=message.sender, is_automated=message.is_automated))
    return Pairs(
        texts=tuple(texts),
        features=np.array(histories, dtype=np.float32).reshape(len(texts), len(FEATURES)),
        labels=np.array([bool(getattr(pair, label)) for pair in found], dtype=np.int64),
        dates=np.array([pair.date for pair in found], dtype=np.float64),
        recipients=tuple(pair.recipient for pair in found),
        automated=np.array([pair.is_automated for pair in found], dtype=np.bool_),
        senders=tuple(pair.sender for pair in found),
        people=tuple(pair.recipient_id for pair in found),
        settled=np.array([_settled(pair) for pair in found], dtype=np.float64),
    )


def _chained(first: Any, second: Any) -> Any:
    return first + second if isinstance(first, tuple) else np.concatenate([first, second])


def _taken(column: Any, rows: NDArray[np.intp]) -> Any:
    return tuple(column[row] for row in rows) if isinstance(column, tuple) else column[rows]
