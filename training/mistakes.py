"""Where a model is wrong: the pairs it is furthest out on, and what sets the urgent ones that it misses apart."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.history import FEATURES
from training.pairs import Pairs
from training.provenance import pseudonym

SUBJECT = 60  # characters that are shown of one


@dataclass(frozen=True, slots=True)
class Mistake:
    """A pair as it may be shown to who may see the mailbox: people under pseudonyms, of the mail a cut subject."""

    score: float
    sender: str
    recipient: str
    automated: bool
    subject: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """A feature's mean among missed and among found pairs; `difference` is theirs in units of its spread, on a signed
    logarithm."""

    feature: str
    missed: float
    found: float
    difference: float


def false_alarms(scores: NDArray[np.float64], judged: Pairs, count: int) -> list[Mistake]:
    """The pairs, not urgent, with the highest scores, (N,), at most `count`, the worst first."""
    rows = np.flatnonzero(judged.labels == 0)
    return _shown(rows[np.argsort(-scores[rows], kind="stable")][:count], scores, judged)


def misses(scores: NDArray[np.float64], judged: Pairs, count: int) -> list[Mistake]:
    """The urgent pairs with the lowest scores, (N,), at most `count`, the worst first."""
    rows = np.flatnonzero(judged.labels == 1)
    return _shown(rows[np.argsort(scores[rows], kind="stable")][:count], scores, judged)


def contrasts(scores: NDArray[np.float64], judged: Pairs, threshold: float) -> list[Contrast]:
    """Each feature among the urgent pairs below the threshold and among the others, the largest difference first.

    Nothing where no urgent pair is missed, or none is found; a feature that never varies is left out.
    """
    urgent = judged.take(np.flatnonzero(judged.labels == 1))
    is_missed = scores[judged.labels == 1] < threshold
    if not is_missed.any() or is_missed.all():
        return []
    values = urgent.features.astype(np.float64)
    logs = np.sign(values) * np.log1p(np.abs(values))
    spread = logs.std(0)
    difference = logs[is_missed].mean(0) - logs[~is_missed].mean(0)
    found = [
        Contrast(name, float(values[is_missed, at].mean()), float(values[~is_missed, at].mean()), float(by))
        for at, (name, by) in enumerate(zip(FEATURES, difference / np.maximum(spread, 1e-9), strict=True))
        if spread[at] > 0
    ]
    return sorted(found, key=lambda each: -abs(each.difference))


def _shown(rows: Iterable[np.intp], scores: NDArray[np.float64], judged: Pairs) -> list[Mistake]:
    return [
        Mistake(
            score=float(scores[row]),
            sender=pseudonym(judged.senders[row]),
            recipient=pseudonym(judged.recipients[row]),
            automated=bool(judged.automated[row]),
            subject=judged.texts[row].partition("\n")[0][:SUBJECT],
        )
        for row in rows
    ]
