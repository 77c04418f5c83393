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


def test_neighbours_are_told_apart_as_in_64_bits() -> None:
    """The threshold lies between them, and the nearest 32 bits to it are the upper one: both would go left."""
    below = np.nextafter(np.float32(1), np.float32(2))
    above = np.nextafter(below, np.float32(2))
    values = np.repeat(np.array([below, above])[:, None], 100, axis=0)
    trees = [HistGradientBoostingClassifier(max_iter=1).fit(values, values[:, 0] == above)]

    tensors = planted(trees)(torch.from_numpy(values)).numpy()

    assert np.allclose(tensors, said(trees, values), atol=1e-5)
    assert tensors[-1] > tensors[0]


def test_an_empty_forest_says_nothing() -> None:
    """A new model is one before it is given its trees, and some are given none."""
    assert Forest((0, 0, 0))(torch.ones(3, 4)).tolist() == [0.0, 0.0, 0.0]
    assert planted(())(torch.ones(3, 4)).tolist() == said((), np.ones((3, 4), dtype=np.float32)).tolist()
