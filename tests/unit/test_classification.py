"""Classification and reanalysis: what a score, a failure and the band lead to."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey
from numpy.typing import NDArray

from data import history
from data.parse import parse
from serving.classification import Classification
from serving.errors import BrokerUnavailable, Temporary, Unsealable
from serving.pipeline import FailedOpen, NotUrgent, Outcome, Prediction, Uncertain, Unscored, Urgent
from serving.reanalysis import Reanalysis
from serving.scoring import Scorer, personal_threshold
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work
from training.artefact import Certificate, Thresholds
from training.render import Example

CONTENT = UnsealingKey(bytes(PrivateKey.generate()))
LOOKUP = LookupKey(bytes(32))
MAIL = (
    b"From: Ops <ops@example.org>\r\nTo: ada@example.net\r\nSubject: Disk full\r\nMessage-ID: <2@x>\r\n"
    b"In-Reply-To: <1@x>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\ndb1 is full\r\n"
)


class FakeModel:
    """Answers with the score that the text asks for."""

    version = "7"

    def __init__(self, score: Callable[[Example], float], *certificates: Certificate):
        self._score = score
        self._certificates = {each.slice: each for each in certificates}
        self.thresholds = Thresholds(0.5, None, (0.4, 0.6))
        self.calls: list[list[Example]] = []
        self.lengths: set[int | None] = set()

    def certificate(self, *, is_automated: bool) -> Certificate | None:
        return self._certificates.get("machines" if is_automated else "people")

    def predict(self, examples: Sequence[Example], *, max_length: int | None = None) -> NDArray[np.float64]:
        self.calls.append(list(examples))
        self.lengths.add(max_length)
        return np.array([self._score(example) for example in examples])


class FakeStore:
    """Counters by digest; anything else about the store is tested with the real one."""

    def __init__(self) -> None:
        self.counters: dict[str, dict[str, Any]] = {}
        self.offset = 0.0
        self.is_up = True

    def set(self, name: str, count: int, last: float = 0.0, link: int = 0) -> None:
        key = LOOKUP.counter(name).hex()
        self.counters[key] = {"key": key, "count": count, "last": last, "link": str(link)}

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        if not self.is_up:
            raise BrokerUnavailable("no broker")
        if name == "offset":
            assert parameters["recipient"] == LOOKUP.address("ada@example.net").hex()
            return [{"log_odds": self.offset}]
        assert name == "counters"
        return [self.counters[key] for key in parameters["keys"] if key in self.counters]


def scorer(model: FakeModel, store: FakeStore | None = None, **options: Any) -> Scorer:
    return Scorer(store or FakeStore(), model, CONTENT, LOOKUP, **options)


def work(raw: bytes = MAIL, *, attempt: int = 1, ordinal: int = 0) -> Work:
    async def note(_: str, __: object) -> None: ...

    seal = CONTENT.sealing_key.seal
    address = "ada@example.net"
    return Work(
        1, 2, ordinal, attempt, LOOKUP.address(address), seal(address.encode()), "p1", {}, seal(raw), 1.7e9, note
    )


def always(score: float) -> Callable[[Example], float]:
    return lambda _: score


def certificate(slice_: str, threshold: float) -> Certificate:
    return Certificate(slice_, threshold, 0.01, 0.95, urgent=3000, lost=20, clustered=0.009)


async def judged(model: FakeModel, offset: float) -> Prediction:
    store = FakeStore()
    store.offset = offset
    return (await scorer(model, store).judge_mail(MAIL, "ada@example.net")).prediction


def broken(_: Example) -> float:
    raise RuntimeError("db1 is full")


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.9, Urgent), (0.6, Urgent), (0.599, Uncertain), (0.4, Uncertain), (0.399, NotUrgent), (0.0, NotUrgent)],
)
async def test_the_score_decides_and_the_narrow_band_is_looked_at_again(score: float, expected: type[Outcome]) -> None:
    """One threshold off by one is a missed alarm."""
    outcome = await Classification(scorer(FakeModel(always(score)))).handle(work())

    assert type(outcome) is expected


@pytest.mark.parametrize(("score", "expected"), [(0.5, Urgent), (0.599, Urgent), (0.499, NotUrgent), (0.4, NotUrgent)])
async def test_reanalysis_decides_inside_the_band_and_reads_more_of_the_mail(
    score: float, expected: type[Outcome]
) -> None:
    """There is no third look."""
    model = FakeModel(always(score))
    outcome = await Reanalysis(scorer(model, max_length=256)).handle(work())

    assert type(outcome) is expected
    assert model.lengths == {256}


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.1, float("inf")])
async def test_a_score_that_is_no_probability_is_a_failure_of_the_model(score: float) -> None:
    """NaN compares as smaller than any threshold and would pass for "not urgent"."""
    outcome = await Classification(scorer(FakeModel(always(score)))).handle(work())

    assert outcome == Unscored("ArithmeticError")


async def test_a_broken_model_is_named_by_its_class_never_by_its_words() -> None:
    """An error message may quote the mail."""
    outcome = await Classification(scorer(FakeModel(broken))).handle(work())

    assert outcome == Unscored("RuntimeError")


async def test_octets_that_no_parser_likes_are_unscored() -> None:
    """Mail that cannot be read is not for that reason unimportant."""
    outcome = await Classification(scorer(FakeModel(always(0.9)))).handle(work(b""))

    assert outcome == Unscored("Unreadable")


async def test_reanalysis_tries_a_bounded_number_of_times_and_then_fails_open() -> None:
    """A model that is down for good must not keep an alarm back."""
    reanalysis = Reanalysis(scorer(FakeModel(broken)), attempts=3, retry_after=0.5)
    delays = []
    for attempt in (1, 2):
        with pytest.raises(Temporary) as failure:
            await reanalysis.handle(work(attempt=attempt))
        delays.append(failure.value.retry_after)

    assert delays == [0.5, 0.5]
    assert await reanalysis.handle(work(attempt=3)) == FailedOpen("RuntimeError")


async def test_without_the_broker_or_the_right_key_nothing_is_decided() -> None:
    """These are not the model's failures: the hop is retried, and nothing fails open because of them."""
    store = FakeStore()
    store.is_up = False
    with pytest.raises(BrokerUnavailable):
        await Classification(scorer(FakeModel(always(0.9)), store)).handle(work())
    other = Scorer(FakeStore(), FakeModel(always(0.9)), UnsealingKey(bytes(PrivateKey.generate())), LOOKUP)
    with pytest.raises(Unsealable):
        await Reanalysis(other).handle(work(attempt=9))


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
    outcome = await Classification(scorer(model)).handle(work(MAIL.replace(b"ops@example.org", sender)))

    assert isinstance(outcome, NotUrgent)
    assert outcome.prediction.may_discard == (threshold is not None and threshold >= 0.05)
    assert (outcome.prediction.discard_threshold, outcome.prediction.bound, outcome.prediction.confidence) == (
        (None, None, None) if threshold is None else (threshold, 0.01, 0.95)
    )


async def test_what_the_certificate_has_not_seen_is_not_discarded() -> None:
    """It was made by first looks with history; a longer look, or one without history, is another score."""
    model = FakeModel(always(0.05), certificate("people", 0.1))
    second = await Reanalysis(scorer(model, max_length=256)).handle(work())
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
    outcome = await Classification(scorer(FakeModel(always(0.3)), store)).handle(work())

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


async def test_the_model_sees_the_history_that_the_store_holds() -> None:
    """Text alone ranks far worse than text with history."""
    store, model = FakeStore(), FakeModel(always(0.9))
    root = 12345
    store.set("received\nada@example.net", 10)
    store.set("acted\nada@example.net", 5, last=1.69e9)
    store.set("thread\n1@x", 1, link=root)
    store.set(f"posts\n{root}", 4, last=1.69e9)
    await Classification(scorer(model, store)).handle(work())
    seen = dict(zip(history.FEATURES, model.calls[0][0].features.tolist(), strict=True))

    assert seen["recipient_received"] == 10
    assert seen["thread_posts"] == 4
    assert seen["recipient_rate"] == pytest.approx((5 + 0.4) / 14)


async def test_a_decision_tells_what_the_arrival_adds_under_keys_that_tell_nothing() -> None:
    """The history grows in the hop's own commit; the store never learns a name."""
    outcome = await Classification(scorer(FakeModel(always(0.9)))).handle(work())
    message = parse(MAIL)
    names = [one.key for one in history.seen(message, "ada@example.net", 0, {})]

    assert isinstance(outcome, Urgent)
    assert outcome.observation is not None
    assert [one.key for one in outcome.observation.seen] == [LOOKUP.counter(name) for name in names]
    assert outcome.observation.reaction == tuple(map(LOOKUP.counter, history.acted(message, "ada@example.net")))


async def test_only_the_final_decision_adds_to_the_history() -> None:
    """Otherwise reanalysis would find this very mail in the history, and count it twice."""
    uncertain = await Classification(scorer(FakeModel(always(0.55)))).handle(work())
    final = await Reanalysis(scorer(FakeModel(always(0.55)))).handle(work())

    assert isinstance(uncertain, Uncertain)
    assert uncertain.observation is None
    assert isinstance(final, Urgent)
    assert final.observation is not None


async def test_what_a_mail_adds_once_is_not_added_for_every_recipient() -> None:
    """A mail to a hundred people is one mail sent."""
    first = await Classification(scorer(FakeModel(always(0.9)))).handle(work(ordinal=0))
    second = await Classification(scorer(FakeModel(always(0.9)))).handle(work(ordinal=1))

    assert isinstance(first, Urgent)
    assert isinstance(second, Urgent)
    assert first.observation is not None
    assert second.observation is not None
    assert len(first.observation.seen) > len(second.observation.seen) > 0


async def test_claims_that_come_together_are_scored_together_and_each_gets_its_own_score() -> None:
    """A batch is quicker; a score in the wrong hands would be a disaster."""
    model = FakeModel(lambda example: 0.9 if "alarm" in example.text else 0.1)
    classification = Classification(scorer(model))
    mails = [MAIL.replace(b"Disk full", b"alarm" if n % 3 == 0 else b"news" + b"!" * n) for n in range(9)]
    outcomes = await asyncio.gather(*(classification.handle(work(mail)) for mail in mails))

    assert [type(outcome) for outcome in outcomes] == [Urgent if n % 3 == 0 else NotUrgent for n in range(9)]
    assert len(model.calls) < len(mails)


async def test_one_bad_mail_does_not_fail_its_batch_mates() -> None:
    """One sender must not be able to open the gate for everybody else's mail."""

    def score(example: Example) -> float:
        return broken(example) if "poison" in example.text else 0.9

    classification = Classification(scorer(FakeModel(score)))
    mails = [MAIL.replace(b"Disk full", b"poison" if n == 3 else b"x") for n in range(6)]
    outcomes = await asyncio.gather(*(classification.handle(work(mail)) for mail in mails))

    assert [type(outcome) for outcome in outcomes] == [Unscored if n == 3 else Urgent for n in range(6)]
