"""What may be discarded, and what is urgent for whom: the certificate is everybody's, the threshold the recipient's."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.classification import Classification
from serving.pipeline import NotUrgent, Outcome, Urgent
from serving.reanalysis import Reanalysis
from serving.scoring import personal_threshold
from serving.values import Prediction
from tests.unit.scorers import MAIL, FakeModel, FakeStore, always, certificate, personal, scorer, work
from training.artefact import Thresholds


async def judged(model: FakeModel, offset: float) -> Prediction:
    store = FakeStore()
    store.offset = offset
    return (await scorer(model, store).judge_mail(MAIL, "ada@example.net")).prediction


@pytest.mark.parametrize(
    ("slices", "sender", "threshold"),
    [
        ({"people": 0.1}, b"ops@example.org", 0.1),
        ({"people": 0.05}, b"ops@example.org", 0.05),
        ({"people": 0.01}, b"ops@example.org", 0.01),
        ({}, b"ops@example.org", None),
        ({"machines": 0.1}, b"ops@example.org", None),
        ({"people": 0.1}, b"nagios@example.org", None),
        ({"people": 0.01, "machines": 0.2}, b"nagios@example.org", 0.2),
    ],
)
async def test_only_a_low_score_of_a_certified_sort_may_be_discarded(
    slices: dict[str, float], sender: bytes, threshold: float | None
) -> None:
    """Whatever is discarded is discarded within a bound, and people's says nothing about machines."""
    model = FakeModel(always(0.05), *(certificate(each, slices[each]) for each in slices))
    outcome = await Classification(scorer(model), personal()).handle(work(MAIL.replace(b"ops@example.org", sender)))

    assert isinstance(outcome, NotUrgent)
    assert outcome.prediction.may_discard == (threshold is not None and threshold >= 0.05)
    assert (outcome.prediction.discard_threshold, outcome.prediction.bound, outcome.prediction.confidence) == (
        (None, None, None) if threshold is None else (threshold, 0.01, 0.95)
    )


async def test_what_the_certificate_has_not_seen_is_not_discarded() -> None:
    """It was made by first looks with history; a longer look, or one without history, is another score."""
    model = FakeModel(always(0.05), certificate("people", 0.1))
    second = await Reanalysis(scorer(model, max_length=256), personal()).handle(work())
    bare = await scorer(model).judge_mail(MAIL, "ada@example.net", with_history=False)

    assert isinstance(second, NotUrgent)
    assert not second.prediction.may_discard
    assert not bare.prediction.may_discard


@pytest.mark.parametrize(
    ("offset", "expected"), [(-2.0, Urgent), (-0.1, NotUrgent), (0.0, NotUrgent), (2.0, NotUrgent)]
)
async def test_the_recipients_offset_moves_the_urgent_threshold(offset: float, expected: type[Outcome]) -> None:
    """What is urgent is personal: 0.3 is below everybody's threshold of 0.5, and above that of one who wants more."""
    store = FakeStore()
    store.offset = offset
    outcome = await Classification(scorer(FakeModel(always(0.3)), store), personal()).handle(work())

    assert type(outcome) is expected
    assert isinstance(outcome, Urgent | NotUrgent)
    assert (outcome.prediction.score, outcome.prediction.offset) == (0.3, offset)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.99), st.floats(-2, 2))
def test_no_offset_makes_more_mail_discardable(score: float, threshold: float, urgent: float, offset: float) -> None:
    """The bound was certified without offsets; they may only make it more cautious."""
    model = FakeModel(always(score), certificate("people", threshold))
    model.thresholds = Thresholds(urgent, None, (urgent, urgent))
    plain, moved = (asyncio.run(judged(model, each)) for each in (0.0, offset))

    assert moved.may_discard <= plain.may_discard
    assert moved.label == ("urgent" if score >= personal_threshold(urgent, offset) else "not_urgent")
    assert moved.may_discard <= (moved.label == "not_urgent")


def test_the_personal_threshold_moves_by_its_offset_in_log_odds_and_stays_a_probability() -> None:
    """An offset in other units would move rare and common mail by different amounts."""
    moved = personal_threshold(0.2, -0.5)

    assert personal_threshold(0.171, 0.0) == 0.171
    assert math.log(moved / (1 - moved)) == pytest.approx(math.log(0.2 / 0.8) - 0.5)
    assert (personal_threshold(0.0, 2.0), personal_threshold(1.0, -2.0)) == (0.0, 1.0)
