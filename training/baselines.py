"""The peers a transformer has to beat, fitted on the same pairs and judged on the same rows."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from data.history import FEATURES
from training.pairs import Pairs


def boosted_trees(train: Pairs, judged: Pairs, seed: int) -> NDArray[np.float64]:
    """Probabilities (N,) for the judged pairs by gradient-boosted trees over the history alone."""
    trees = HistGradientBoostingClassifier(max_iter=300, learning_rate=0.04, l2_regularization=1.0, random_state=seed)
    trees.fit(train.features, train.labels)
    return np.asarray(trees.predict_proba(judged.features)[:, 1], dtype=np.float64)


def addressed_directly(judged: Pairs) -> NDArray[np.float64]:
    """The rule without training: in To, and the fewer recipients the better; (N,) from 0 to 1."""
    is_to, recipients = (judged.features[:, FEATURES.index(name)] for name in ("is_to", "recipient_count"))
    return np.asarray((is_to + 1.0 / (1.0 + recipients)) / 2.0, dtype=np.float64)
