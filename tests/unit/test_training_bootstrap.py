"""Areas and intervals that a promotion may rest on."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from training.bootstrap import Ranked, Resamples, interval, paired


def sample(seed: int, count: int = 400) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores with many ties, and labels that follow them loosely."""
    random = np.random.default_rng(seed)
    scores = np.round(random.random(count), 1)
    return scores, (random.random(count) < scores / 2).astype(np.int64)


@pytest.mark.parametrize("seed", range(5))
def test_the_areas_are_scikit_learns(seed: int) -> None:
    """A formula of one's own for a known figure is a way to fool oneself."""
    scores, labels = sample(seed)
    weights = np.random.default_rng(seed).integers(0, 4, len(scores)).astype(np.float64)

    plain, weighted = Ranked(scores, labels).areas(), Ranked(scores, labels).areas(weights)

    expected = [measure(labels, scores) for measure in (roc_auc_score, average_precision_score)]
    heavy = [measure(labels, scores, sample_weight=weights) for measure in (roc_auc_score, average_precision_score)]
    assert plain == pytest.approx(expected)
    assert weighted == pytest.approx(heavy)


def test_likeness_within_a_recipient_widens_the_interval() -> None:
    """Pairs of one person are alike; taking them for independent claims more than is known."""
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 50)
    labels = (random.random(1_000) < np.repeat(random.random(20), 50)).astype(np.int64)
    scores = np.repeat(random.random(20), 50) + random.random(1_000) * 0.1

    together = interval(Resamples([str(who) for who in people], 0, 300).areas(scores, labels)[:, 0])
    alone = interval(Resamples([str(row) for row in range(1_000)], 0, 300).areas(scores, labels)[:, 0])

    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    """Two models that err alike can be told apart although their intervals overlap."""
    scores, labels = sample(1)
    worse = np.clip(scores + np.where(np.arange(400) % 15 == 0, 0.5 - labels, 0.0), 0, 1)
    resamples = Resamples([str(row % 40) for row in range(400)], 0, 300)
    good, bad = resamples.areas(scores, labels), resamples.areas(worse, labels)

    found = paired(good, bad, Ranked(scores, labels).areas(), Ranked(worse, labels).areas())

    assert interval(good[:, 0])[0] < interval(bad[:, 0])[1]
    assert found["auroc"]["interval"][0] > 0
    assert found["auroc"]["interval"][0] <= found["auroc"]["difference"] <= found["auroc"]["interval"][1]


def test_draws_of_one_label_are_left_out() -> None:
    """A draw of silent people only has no area."""
    scores, labels = np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 1, 0, 0])
    draws = Resamples(["a", "a", "b", "b"], 0, 50).areas(scores, labels)

    assert np.isnan(draws).any()
    assert interval(draws[:, 0]) == [1.0, 1.0]
