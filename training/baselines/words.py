"""Logistic regression over hashed words, with tokens for sender, recipient and the two together."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
from sklearn.linear_model import SGDClassifier

from training.baselines.peer import Judge, Material, Rows, Scores
from training.progress import steps

EPOCHS, PENALTY = 10, 1e-5


def words(learned: Material, seed: int) -> Judge:
    """The text-only peer: no history, but who writes to whom, and what."""
    model = regression(learned.words, learned.pairs.labels, seed)

    def judge(stream: Material, rows: Rows) -> Scores:
        return np.asarray(model.predict_proba(stream.words[rows])[:, 1], dtype=np.float64)

    return judge


def regression(values: csr_matrix, labels: NDArray[np.int64], seed: int) -> SGDClassifier:
    """Logistic regression by averaged stochastic descent, a few times over all rows."""
    model = SGDClassifier(loss="log_loss", alpha=PENALTY, average=True, random_state=seed)
    random = np.random.default_rng(seed)
    for _ in steps(EPOCHS, "logistic regression"):
        order = random.permutation(len(labels))
        model.partial_fit(values[order], labels[order], classes=[0, 1])
    return model
