"""Gradient-boosted trees over the causal social history, alone and with the mail's form: the strongest peers."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from data.history import FEATURES, SOCIAL
from training.baselines.peer import Judge, Material, Rows, Scores
from training.progress import steps

ROUNDS, AT_A_TIME = 300, 100


def trees(learned: Material, seed: int) -> Judge:
    """Trees over every social feature of data.history: who, whom, the thread, and what each did before."""
    return _judge(learned, seed, len(SOCIAL))


def all_trees(learned: Material, seed: int) -> Judge:
    """The same with the mail's form beside it: the strongest peer that reads no words."""
    return _judge(learned, seed, len(FEATURES))


def boosted(features: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> HistGradientBoostingClassifier:
    """Gradient boosting (Friedman 2001, in LightGBM's histogram form) on (N, F) features."""
    model = HistGradientBoostingClassifier(
        max_iter=0,
        learning_rate=0.04,
        l2_regularization=1.0,
        min_samples_leaf=min(max(len(labels) // 500, 10), 100),  # small mailboxes need small leaves
        max_features=0.3,
        early_stopping=False,
        warm_start=True,
        random_state=seed,
    )
    with threadpool_limits(1, user_api="openmp"):  # beside another process, two threads were 60 times slower than one
        for step in steps(ROUNDS // AT_A_TIME, "boosted trees"):
            model.set_params(max_iter=(step + 1) * AT_A_TIME).fit(features, labels)
    return model


def _judge(learned: Material, seed: int, width: int) -> Judge:
    """Trees over the first `width` features."""
    model = boosted(learned.pairs.features[:, :width], learned.pairs.labels, seed)

    def judge(stream: Material, rows: Rows) -> Scores:
        return np.asarray(model.predict_proba(stream.pairs.features[rows, :width])[:, 1], dtype=np.float64)

    return judge
