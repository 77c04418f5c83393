"""What a challenger has to show on the rows on which the champion is judged too; training.promotion acts on it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.bootstrap import Ranked, Resamples, paired
from training.metrics import measure
from training.pairs import Pairs
from training.versions import ALIAS, CHALLENGER

ECE_LIMIT = 0.02


@dataclass(frozen=True, slots=True)
class Judgement:
    """Somebody's probabilities of the judged rows, (N,); at or above `urgent` they call a pair urgent."""

    model: str
    version: str | None
    scores: NDArray[np.float64]
    urgent: float


@dataclass(frozen=True, slots=True)
class Criterion:
    """What must hold, the figures, and whether it does."""

    name: str
    said: str
    passed: bool


def decide(challenger: Judgement, against: Judgement, judged: Pairs, seed: int) -> dict[str, Any]:
    """Both sides' figures, the paired difference, the criteria, and whether all of them hold (`passed`)."""
    resamples, labels = Resamples(judged.recipients, seed), judged.labels
    sides = (challenger, against)
    draws = [resamples.areas(side.scores, labels) for side in sides]
    areas = [Ranked(side.scores, labels).areas() for side in sides]
    figures = [_figures(side, labels) for side in sides]
    difference = paired(draws[0], draws[1], areas[0], areas[1])
    own, other = figures
    criteria = (
        _precision(own, other, difference["average_precision"]),
        _recall(own, other),
        _calibration(own),
    )
    return {
        **{
            role: {"model": side.model, "version": side.version, "figures": said}
            for role, side, said in zip((CHALLENGER, ALIAS), sides, figures, strict=True)
        },
        "paired": difference,
        "criteria": [asdict(each) for each in criteria],
        "passed": all(each.passed for each in criteria),
    }


def _precision(own: Mapping[str, float], other: Mapping[str, float], difference: Mapping[str, Any]) -> Criterion:
    low, high = difference["interval"]
    said = (
        f"{own['average_precision']:.4f} against {other['average_precision']:.4f}, difference "
        f"{difference['difference']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}; it must lie above 0"
    )
    return Criterion("average precision", said, low > 0)


def _recall(own: Mapping[str, float], other: Mapping[str, float]) -> Criterion:
    """One pair is no worse: both thresholds keep the same share of whole pairs, as nearly as scores can be parted."""
    found, wanted = (round(side["urgent_recall"] * side["positives"]) for side in (own, other))
    said = (
        f"{own['urgent_recall']:.4f} at {own['urgent_threshold']:.4f} against {other['urgent_recall']:.4f} at "
        f"{other['urgent_threshold']:.4f}; it may miss one urgent pair more, no more than that"
    )
    return Criterion("urgent recall", said, found >= wanted - 1)


def _calibration(own: Mapping[str, float]) -> Criterion:
    said = f"{own['ece']:.4f}; it must be at most {ECE_LIMIT}"
    return Criterion("calibration error", said, own["ece"] <= ECE_LIMIT)


def _figures(side: Judgement, labels: NDArray[np.int64]) -> dict[str, float]:
    recall = float((side.scores[labels == 1] >= side.urgent).mean())
    return {**measure(side.scores, labels), "urgent_threshold": side.urgent, "urgent_recall": recall}
