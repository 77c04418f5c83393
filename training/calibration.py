"""From a graph's logits to probabilities and thresholds, fitted on validation pairs alone."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

from training.artefact import Thresholds, sigmoid


def fit_scale(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Temperature and offset with the highest likelihood (Platt 1999): sigmoid(logit / temperature + offset)."""

    def surprise(parameters: NDArray[Any]) -> float:
        values = logits * math.exp(-parameters[0]) + parameters[1]
        return float(np.mean(np.logaddexp(0.0, values) - labels * values))

    # The bounds hold where the labels can be told apart perfectly and the likelihood has no maximum.
    found = minimize(surprise, np.zeros(2), method="L-BFGS-B", bounds=[(-3.0, 3.0), (-10.0, 10.0)]).x
    return math.exp(found[0]), float(found[1])


def choose_thresholds(
    scores: NDArray[np.float64], labels: NDArray[np.int64], *, recall: float, band: float
) -> Thresholds:
    """`urgent` is the highest score that keeps at least `recall` of the urgent pairs; its band holds that share of all
    pairs, half on each side. There is no discard threshold: that takes a certificate."""
    urgent_scores = np.sort(scores[labels == 1])[::-1]
    urgent = float(urgent_scores[math.ceil(recall * len(urgent_scores)) - 1])
    ranked = np.sort(scores)
    at, half = int(np.searchsorted(ranked, urgent)), int(band * len(ranked) / 2)
    low, high = ranked[max(at - half, 0)], ranked[min(at + half - 1, len(ranked) - 1)]
    return Thresholds(urgent, None, (float(min(low, urgent)), float(max(high, urgent))))


def calibrated(logits: NDArray[np.float64], temperature: float, offset: float) -> NDArray[np.float64]:
    """The probabilities that an artefact with this temperature and offset gives."""
    return sigmoid(logits / temperature + offset)
