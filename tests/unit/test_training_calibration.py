"""Probabilities that mean what they say, and thresholds by the stated rule."""

import numpy as np
import pytest

from training.artefact import sigmoid
from training.calibration import calibrated, choose_thresholds, fit_scale
from training.metrics import calibration_error, measure


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True log-odds and labels drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1.5, 1.5, count)
    return logits, (random.random(count) < sigmoid(logits)).astype(np.int64)


def test_overconfident_logits_are_brought_back() -> None:
    """Thresholds are probabilities: an uncalibrated score would make them meaningless."""
    truth, labels = drawn(20_000)
    loud = 3.0 * truth + 1.0

    temperature, offset = fit_scale(loud, labels)

    assert temperature == pytest.approx(3.0, rel=0.05)
    assert offset == pytest.approx(-1 / 3, abs=0.05)
    assert (
        calibration_error(calibrated(loud, temperature, offset), labels)
        < 0.01
        < calibration_error(sigmoid(loud), labels)
    )


def test_the_urgent_threshold_keeps_the_stated_share() -> None:
    """Recall of urgent mail is what the recipient is promised."""
    logits, labels = drawn(5_000)
    scores = sigmoid(logits)

    thresholds = choose_thresholds(scores, labels, recall=0.8, band=0.05)

    kept = scores[labels == 1] >= thresholds.urgent
    assert kept.mean() >= 0.8
    assert (scores[labels == 1] > thresholds.urgent).mean() < 0.8
    assert thresholds.discard is None


@pytest.mark.parametrize("band", [0.02, 0.05, 0.1])
def test_the_band_is_as_narrow_as_stated(band: float) -> None:
    """Every second look costs; at most a tenth of the mail may get one."""
    logits, labels = drawn(5_000)
    scores = sigmoid(logits)

    low, high = choose_thresholds(scores, labels, recall=0.8, band=band).band

    inside = ((scores >= low) & (scores <= high)).mean()
    assert 0.8 * band < inside <= band + 1e-9


def test_tied_scores_have_thresholds_too() -> None:
    """A model that gives everything one score must not crash its own evaluation."""
    thresholds = choose_thresholds(np.full(50, 0.3), np.array([1] * 5 + [0] * 45), recall=0.8, band=0.05)

    assert thresholds.urgent == 0.3
    assert thresholds.band == (0.3, 0.3)


def test_metrics_are_those_of_a_small_example_by_hand() -> None:
    """Every claim of the project goes through these three numbers."""
    figures = measure(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))

    assert figures["auroc"] == pytest.approx(0.75)
    assert figures["average_precision"] == pytest.approx(5 / 6)
    assert figures["ece"] == pytest.approx((0.1 + 0.4 + 0.65 + 0.2) / 4)
    assert (figures["n"], figures["positives"]) == (4, 2)
