"""Gmail Priority Inbox's model (Aberdeen, Pacovsky and Slater 2010): one logistic regression for everybody over social
and content features, and an offset for each recipient that every outcome moves as soon as it is known.
"""

import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack  # type: ignore[import-untyped]
from sklearn.linear_model import SGDClassifier

from training.baselines.peer import Judge, Material, Rows, Scores
from training.baselines.words import regression
from training.pairs import Pairs

EASE = 10.0  # the history's spread beside words whose vector has length 1, so that descent takes even steps
RATE = 0.1  # how far, in log-odds, an outcome that was thought impossible moves its recipient's offset


def priority_inbox(learned: Material, seed: int) -> Judge:
    """The global model is fitted once; the offsets start at 0 and follow the stream."""
    scale = _Scale(learned.pairs.features)
    model = regression(_inputs(learned, scale), learned.pairs.labels, seed)

    def judge(stream: Material, rows: Rows) -> Scores:
        return _personal(_log_odds(model, stream, scale), stream.pairs)[rows]

    return judge


class _Scale:
    """The history as signed logarithms with mean 0 and spread 1 over the learned pairs, cut at 5."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        logs = _signed_log(features)
        self.mean, self.spread = logs.mean(0), np.maximum(logs.std(0), 1e-3)

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = np.clip((_signed_log(features) - self.mean) / self.spread, -5.0, 5.0)
        return scaled


def _signed_log(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)), dtype=np.float64)


def _inputs(material: Material, scale: _Scale) -> csr_matrix:
    return hstack([csr_matrix(scale(material.pairs.features) / EASE), material.words], format="csr")


def _log_odds(model: SGDClassifier, material: Material, scale: _Scale) -> Scores:
    return np.asarray(model.decision_function(_inputs(material, scale)), dtype=np.float64)


def _personal(log_odds: Scores, stream: Pairs) -> Scores:
    """Probabilities of every row in turn, each with the offset that the outcomes settled before it have made."""
    offsets: defaultdict[str, float] = defaultdict(float)
    scores = np.zeros(len(stream), dtype=np.float64)
    settled, order = 0, np.argsort(stream.settled, kind="stable")
    for row, date in enumerate(stream.dates):
        while stream.settled[order[settled]] < date:
            known = order[settled]
            offsets[stream.people[known]] += RATE * (stream.labels[known] - scores[known])
            settled += 1
        scores[row] = 1.0 / (1.0 + math.exp(-log_odds[row] - offsets[stream.people[row]]))
    return scores
