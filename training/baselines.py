"""The peers a transformer has to beat, fitted on the same pairs and judged on the same rows."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]

from data.history import FEATURES
from training.pairs import Pairs


def boosted_trees(train: Pairs, judged: Pairs, seed: int) -> NDArray[np.float64]:
    """Probabilities (N,) for the judged pairs by gradient-boosted trees over the history alone."""
    trees = HistGradientBoostingClassifier(max_iter=300, learning_rate=0.04, l2_regularization=1.0, random_state=seed)
    trees.fit(train.features, train.labels)
    scores: NDArray[np.float64] = trees.predict_proba(judged.features)[:, 1]
    return scores


def addressed_directly(judged: Pairs) -> NDArray[np.float64]:
    """The rule without training: in To, and the fewer recipients the better."""
    features = dict(zip(FEATURES, judged.features.T.astype(np.float64), strict=True))
    return features["is_to"] + 1.0 / (1.0 + features["recipient_count"])
