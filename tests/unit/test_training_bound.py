"""The discard bound: what a certificate promises, and where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta  # type: ignore[import-untyped]

from training.artefact import Thresholds
from training.bound import certify, certify_slices, clustered_bound, stated, tolerated

ALPHA = 0.01


def people(count: int) -> list[str]:
    """Everybody gets one mail."""
    return [f"p{number}" for number in range(count)]


def mailbox(count: int, seed: int, each: int = 1) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """`count` urgent pairs with scores uniform between 0 and 1, so that a threshold is the share that it loses.

    Each recipient gets `each` of them, with nearly the same score.
    """
    random = np.random.default_rng(seed)
    scores = np.repeat(random.random(-(-count // each)), each)[:count] + random.random(count) * 1e-9
    names = [f"p{number // each}" for number in range(count)]
    return scores, np.ones(count, dtype=np.int64), names


def test_the_promise_is_kept_as_often_as_it_says() -> None:
    """95 % confidence: of many validation sets at most one in twenty may certify a threshold that loses more."""
    found = [certify(*mailbox(1_000, seed), alpha=ALPHA) for seed in range(1_000)]
    broken = [each for each in found if each is not None and each.threshold >= ALPHA]

    assert all(each is not None for each in found)
    assert 0 < len(broken) <= 50 + 3 * 7


def test_the_promise_is_kept_where_a_recipients_pairs_are_alike() -> None:
    """Taken for independent, a thousand pairs of a hundred people would certify far too much."""
    found = [certify(*mailbox(2_000, seed, each=10), alpha=0.05) for seed in range(300)]
    broken = [each for each in found if each is not None and each.threshold >= 0.05]

    assert len(broken) <= 15 + 3 * 4


@given(st.integers(1, 5_000), st.floats(0.001, 0.2))
def test_the_limit_is_the_interval_of_clopper_and_pearson(count: int, alpha: float) -> None:
    """Two derivations of the same bound; the rank is the largest that still fits."""
    rank = tolerated(count, alpha, 0.95)

    assert rank == 0 or beta.ppf(0.95, rank, count - rank + 1) <= alpha * (1 + 1e-9)
    assert rank == count or beta.ppf(0.95, rank + 1, count - rank) > alpha * (1 - 1e-9)


def test_no_higher_threshold_is_within_the_bound() -> None:
    """A threshold that is too cautious keeps recipients' wishes from being followed."""
    scores, labels, names = mailbox(1_000, 0)
    found = certify(scores, labels, names, alpha=ALPHA)

    assert found is not None
    assert found.lost == tolerated(1_000, ALPHA, 0.95) - 1
    assert found.threshold < np.sort(scores)[found.lost] <= np.nextafter(found.threshold, 1)
    assert found.clustered < ALPHA


def test_a_score_that_many_share_is_lost_with_all_or_none() -> None:
    """Ties at the threshold would otherwise lose far more than was counted."""
    scores = np.concatenate([np.full(5, 0.01), np.full(500, 0.02), np.full(495, 0.9)])
    found = certify(scores, np.ones(1_000, dtype=np.int64), people(1_000), alpha=0.02)

    assert found is not None
    assert 0.01 <= found.threshold < 0.02
    assert found.lost == 5


@pytest.mark.parametrize("urgent", [0, 1, 32, 298, 400])
def test_too_few_urgent_pairs_certify_nothing(urgent: int) -> None:
    """No certificate, nothing discarded: that is how little mail of machines is answered."""
    scores, labels, names = mailbox(1_000, 0)
    labels[urgent:] = 0

    assert certify(scores, labels, names, alpha=ALPHA) is None


def test_a_few_people_certify_less_than_many() -> None:
    """Ten people who are alike in themselves say little about an eleventh."""
    is_lost = np.zeros(1_000, dtype=np.bool_)
    is_lost[:7] = True
    alone, together = np.arange(1_000), np.repeat(np.arange(50), 20)

    assert clustered_bound(is_lost, alone, 0.95) == pytest.approx(beta.ppf(0.95, 8, 993), rel=0.01)
    assert clustered_bound(is_lost, together, 0.95) > 1.3 * clustered_bound(is_lost, alone, 0.95)


def test_machines_are_certified_by_their_own_pairs_alone() -> None:
    """Nobody replies to an alert: a bound from people's mail would drop what this product exists for."""
    scores, labels, names = mailbox(3_000, 0)
    automated = np.arange(3_000) >= 1_500
    scores[automated] *= 0.5
    both = certify_slices(scores, labels, names, automated, alpha=0.02)
    few = certify_slices(scores, labels, names, np.arange(3_000) >= 2_950, alpha=0.02)

    assert [each.slice for each in both] == ["people", "machines"]
    assert both[1].threshold == pytest.approx(both[0].threshold / 2, rel=0.5)
    assert [each.slice for each in few] == ["people"]


def test_a_description_discards_people_s_mail_by_people_s_certificate_alone() -> None:
    """A certificate of another slice, or an old one, must not open the door."""
    thresholds = Thresholds(0.5, 0.4, (0.4, 0.6))
    scores, labels, names = mailbox(1_000, 0)
    found = certify(scores, labels, names, alpha=ALPHA)
    assert found is not None

    assert stated(thresholds, [])["thresholds"].discard is None
    assert stated(thresholds, [])["bound"] is None
    assert stated(thresholds, [found])["thresholds"].discard == found.threshold
    assert stated(thresholds, [found])["bound"] == ALPHA
