"""Intervals that respect likeness: whole recipients are drawn again, since one recipient's pairs are alike.

The same draws serve every model, so that two models' difference is taken on the same rows (a paired bootstrap).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.progress import bar

REPEATS = 1_000

Floats = NDArray[np.float64]
Figures = dict[str, Any]


class Resamples:
    """Repeated draws of whole clusters, with replacement, from one seed."""

    def __init__(self, clusters: Sequence[str], seed: int, repeats: int = REPEATS) -> None:
        names, self._codes = np.unique(np.asarray(clusters), return_inverse=True)
        chance = np.full(len(names), 1.0 / len(names))
        self._counts = np.random.default_rng(seed).multinomial(len(names), chance, size=repeats)

    def areas(self, scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> Floats:
        """AUROC and average precision of each draw, (repeats, 2); NaN where a draw has one label only."""
        ranked = Ranked(scores, labels)
        draws = bar(self._counts, "bootstrap", len(self._counts), "draw")
        return np.array([ranked.areas(counts[self._codes].astype(np.float64)) for counts in draws])


class Ranked:
    """Scores put in order once, so that the areas under any weights are two running sums."""

    def __init__(self, scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # ties are one threshold
        self._is_positive = labels[self._order] == 1

    def areas(self, weights: Floats | None = None) -> tuple[float, float]:
        """AUROC and average precision, as scikit-learn defines them; NaN where the weight lies on one label only."""
        weight = np.ones(len(self._order)) if weights is None else weights[self._order]
        hits = np.cumsum(weight * self._is_positive)[self._ends]
        misses = np.cumsum(weight * ~self._is_positive)[self._ends]
        if hits[-1] == 0 or misses[-1] == 0:
            return float("nan"), float("nan")
        gained = np.diff(hits, prepend=0.0)
        under = np.diff(misses, prepend=0.0) * (hits - gained / 2.0)
        precision = hits / np.maximum(hits + misses, 1.0)
        return float(under.sum() / hits[-1] / misses[-1]), float((gained * precision).sum() / hits[-1])


def interval(values: Floats) -> list[float]:
    """The middle 95 % of the draws that could be measured."""
    return [round(float(value), 4) for value in np.nanpercentile(values, [2.5, 97.5])]


def paired(model: Floats, peer: Floats, at: tuple[float, float], peer_at: tuple[float, float]) -> Figures:
    """Model minus peer: the difference on all rows, and its interval over the same draws, (repeats, 2) each."""
    names = ("auroc", "average_precision")
    return {
        name: {"difference": round(at[k] - peer_at[k], 4), "interval": interval(model[:, k] - peer[:, k])}
        for k, name in enumerate(names)
    }
