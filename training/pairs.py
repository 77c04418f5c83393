"""The examples of a run: every (message, recipient) of the tables with its text, its history then, and its label."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.history import FEATURES
from data.replay import replay
from data.schema import Interaction, Message
from data.table import read_interactions, read_messages
from training.render import Example, render

Row = tuple[Message, str, NDArray[np.float32]]


class BadPairs(ValueError):
    """Nothing can be learned from these tables; the message says why."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Aligned arrays of N pairs: `labels` int64 of 0 and 1, `dates` float64 seconds, `features` float32 (N, F)."""

    texts: tuple[str, ...]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    dates: NDArray[np.float64]
    recipients: tuple[str, ...]
    automated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[np.intp]) -> "Pairs":
        """The pairs of these rows, in that order."""
        return Pairs(
            tuple(self.texts[row] for row in rows),
            self.features[rows],
            self.labels[rows],
            self.dates[rows],
            tuple(self.recipients[row] for row in rows),
            self.automated[rows],
        )

    def between(self, start: float, end: float) -> "Pairs":
        """The pairs whose mail arrived at or after `start` and before `end`."""
        return self.take(np.flatnonzero((self.dates >= start) & (self.dates < end)))

    def draw(self, count: int, seed: int) -> "Pairs":
        """`count` pairs drawn without replacement, in order of time; all of them where count is 0 or too many."""
        return self.part(count, seed)[0]

    def part(self, count: int, seed: int) -> tuple["Pairs", "Pairs"]:
        """What `draw` gives, and the pairs that it leaves."""
        if not 0 < count < len(self):
            return self, self.take(np.zeros(0, dtype=np.intp))
        rows = np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))
        return self.take(rows), self.take(np.setdiff1d(np.arange(len(self)), rows))

    def examples(self) -> list[Example]:
        """What the artefact's `predict` takes."""
        return [Example(text, features) for text, features in zip(self.texts, self.features, strict=True)]


def load_pairs(messages: Path, interactions: Path, label: str) -> Pairs:
    """All pairs in order of time, history folded over every message. Raises BadPairs and data.table.BadTable."""
    labels = _labels(read_interactions(interactions), label)
    if not labels:
        raise BadPairs(f"{interactions}: no pair of mail and recipient in it; give a mailbox with recipients")
    wanted: dict[tuple[str, str], list[str]] = defaultdict(list)
    for list_name, message_id, recipient in labels:
        wanted[list_name, message_id].append(recipient)
    rows = replay(read_messages(messages), lambda message: wanted.pop((message.list, message.message_id), ()))
    pairs = _collect(rows, labels)
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


def digest(*paths: Path) -> str:
    """SHA-256 over the files' octets, in this order."""
    whole = sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
    return whole.hexdigest()


def _labels(interactions: Iterable[Interaction], label: str) -> dict[tuple[str, str, str], bool]:
    if label not in ("replied", "replied_24h"):
        raise BadPairs(f"label = {label!r}: give replied or replied_24h")
    return {(pair.list, pair.message_id, pair.recipient): bool(getattr(pair, label)) for pair in interactions}


def _collect(rows: Iterable[Row], labels: Mapping[tuple[str, str, str], bool]) -> Pairs:
    texts, features, marks, dates, recipients, automated = [], [], [], [], [], []
    for message, recipient, history in rows:
        texts.append(render(message, recipient, history).text)
        features.append(history)
        marks.append(labels[message.list, message.message_id, recipient])
        dates.append(message.date)
        recipients.append(recipient)
        automated.append(message.is_automated)
    return Pairs(
        tuple(texts),
        np.array(features, dtype=np.float32).reshape(len(texts), len(FEATURES)),
        np.array(marks, dtype=np.int64),
        np.array(dates, dtype=np.float64),
        tuple(recipients),
        np.array(automated, dtype=np.bool_),
    )
