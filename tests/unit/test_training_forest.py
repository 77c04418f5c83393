"""Trees as tensors: exactly what scikit-learn says, and nothing learned from what is judged."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from training.forest import Forest, planted, said


@pytest.fixture(scope="module")
def ensembles() -> list[HistGradientBoostingClassifier]:
    """Two small ensembles over values that lie on their own thresholds."""
    random = np.random.default_rng(0)
    values = (random.integers(0, 40, (2_000, 5)) / 3).astype(np.float32)
    labels = (values[:, 0] * values[:, 1] > 40) ^ (values[:, 2] > 10)
    return [
        HistGradientBoostingClassifier(max_iter=20, random_state=seed, max_features=0.6).fit(values, labels)
        for seed in range(2)
    ]


def test_the_tensors_say_what_the_trees_say(ensembles: list[HistGradientBoostingClassifier]) -> None:
    """Serving runs the tensors; a threshold that moved would be a model that nobody evaluated."""
    values = (np.random.default_rng(1).integers(-5, 60, (500, 5)) / 3).astype(np.float32)

    tensors = planted(ensembles)(torch.from_numpy(values)).numpy()

    assert np.allclose(tensors, said(ensembles, values), atol=1e-5)
    assert tensors.std() > 0.5


def test_values_on_both_sides_of_a_threshold_go_their_ways(ensembles: list[HistGradientBoostingClassifier]) -> None:
    """scikit-learn compares with 64 bits; half of the neighbours would fall on the wrong side if rounded to nearest."""
    forest = planted(ensembles[:1])
    nodes = next(iter(ensembles[0]._predictors))[0].nodes
    threshold, feature = nodes["num_threshold"][0], nodes["feature_idx"][0]
    below, above = np.float32(threshold), np.nextafter(np.float32(threshold), np.float32(np.inf))
    values = np.full((2, 5), 7.0, dtype=np.float32)
    values[:, feature] = below, above

    assert np.allclose(forest(torch.from_numpy(values)).numpy(), said(ensembles[:1], values), atol=1e-5)


def test_an_empty_forest_says_nothing() -> None:
    """A new model is one before it is given its trees."""
    assert Forest((0, 0, 0))(torch.ones(3, 4)).tolist() == [0.0, 0.0, 0.0]
