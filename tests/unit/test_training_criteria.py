"""What a challenger has to show: each criterion holds up to its limit, and not beyond."""

import numpy as np
import pytest

from data.history import FEATURES
from training.criteria import Judgement, decide
from training.pairs import Pairs

_URGENT, _OTHERS = 10, 30


def mailbox() -> Pairs:
    """Ten urgent pairs and thirty others, of four recipients."""
    count, nobody = _URGENT + _OTHERS, ("",) * (_URGENT + _OTHERS)
    labels, nothing = (np.arange(count) < _URGENT).astype(np.int64), np.zeros(count)
    features = np.zeros((count, len(FEATURES)), dtype=np.float32)
    recipients = tuple(f"r{at % 4}@x.example" for at in range(count))
    return Pairs(nobody, features, labels, nothing, recipients, labels == 2, nobody, recipients, nothing)


def judge(found: int) -> Judgement:
    """Somebody who calls so many of the urgent pairs urgent, and no other."""
    scores = np.concatenate([np.linspace(0.9, 0.8, found), np.linspace(0.3, 0.2, _URGENT + _OTHERS - found)])
    return Judgement("somebody", None, scores, 0.5)


@pytest.mark.parametrize(("found", "passed"), [(9, True), (8, True), (7, True), (6, False)])
def test_one_urgent_pair_is_no_worse_and_two_are(found: int, passed: bool) -> None:
    """Two models of one recipe part by a pair in the last digit of a score; that is no reason to refuse."""
    report = decide(judge(found), judge(8), mailbox(), seed=0)

    (recall,) = (each for each in report["criteria"] if each["name"] == "urgent recall")
    assert recall["passed"] is passed
