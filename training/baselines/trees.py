"""Gradient-boosted trees over the causal social history: the strongest classical peer."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.baselines.peer import Judge, Material, Rows, Scores
from training.progress import steps

ROUNDS, AT_A_TIME = 300, 10


def trees(learned: Material, seed: int) -> Judge:
    """Trees over every feature of data.history (Friedman 2001, in LightGBM's histogram form)."""
    model = HistGradientBoostingClassifier(
        max_iter=0,
        learning_rate=0.04,
        l2_regularization=1.0,
        min_samples_leaf=min(max(len(learned) // 500, 10), 100),  # small mailboxes need small leaves
        max_features=0.3,
        early_stopping=False,
        warm_start=True,
        random_state=seed,
    )
    with threadpool_limits(1, user_api="openmp"):  # beside another process, two threads were 60 times slower than one
        for step in steps(ROUNDS // AT_A_TIME, "boosted trees"):
            model.set_params(max_iter=(step + 1) * AT_A_TIME).fit(learned.pairs.features, learned.pairs.labels)

    def judge(stream: Material, rows: Rows) -> Scores:
        return np.asarray(model.predict_proba(stream.pairs.features[rows])[:, 1], dtype=np.float64)

    return judge
