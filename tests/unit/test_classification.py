"""Classification and reanalysis: what a score, a failure and the band lead to."""

import asyncio

import pytest
from nacl.public import PrivateKey

from data import history
from data.parse import parse
from serving.classification import Classification
from serving.errors import BrokerUnavailable, Temporary, Unsealable
from serving.pipeline import FailedOpen, NotUrgent, Outcome, Uncertain, Unscored, Urgent
from serving.reanalysis import Reanalysis
from serving.scoring import Scorer
from serving.sealing import UnsealingKey
from tests.unit.scorers import LOOKUP, MAIL, FakeModel, FakeStore, always, personal, scorer, work
from training.render import Example


def broken(_: Example) -> float:
    raise RuntimeError("db1 is full")


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.9, Urgent), (0.6, Urgent), (0.599, Uncertain), (0.4, Uncertain), (0.399, NotUrgent), (0.0, NotUrgent)],
)
async def test_the_score_decides_and_the_narrow_band_is_looked_at_again(score: float, expected: type[Outcome]) -> None:
    """One threshold off by one is a missed alarm."""
    outcome = await Classification(scorer(FakeModel(always(score))), personal()).handle(work())

    assert type(outcome) is expected


@pytest.mark.parametrize(("score", "expected"), [(0.5, Urgent), (0.599, Urgent), (0.499, NotUrgent), (0.4, NotUrgent)])
async def test_reanalysis_decides_inside_the_band_and_reads_more_of_the_mail(
    score: float, expected: type[Outcome]
) -> None:
    """There is no third look."""
    model = FakeModel(always(score))
    outcome = await Reanalysis(scorer(model, max_length=256), personal()).handle(work())

    assert type(outcome) is expected
    assert model.lengths == {256}


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.1, float("inf")])
async def test_a_score_that_is_no_probability_is_a_failure_of_the_model(score: float) -> None:
    """NaN compares as smaller than any threshold and would pass for "not urgent"."""
    outcome = await Classification(scorer(FakeModel(always(score))), personal()).handle(work())

    assert outcome == Unscored("ArithmeticError")


async def test_a_broken_model_is_named_by_its_class_never_by_its_words() -> None:
    """An error message may quote the mail."""
    outcome = await Classification(scorer(FakeModel(broken)), personal()).handle(work())

    assert outcome == Unscored("RuntimeError")


async def test_octets_that_no_parser_likes_are_unscored() -> None:
    """Mail that cannot be read is not for that reason unimportant."""
    outcome = await Classification(scorer(FakeModel(always(0.9))), personal()).handle(work(b""))

    assert outcome == Unscored("Unreadable")


async def test_reanalysis_tries_a_bounded_number_of_times_and_then_fails_open() -> None:
    """A model that is down for good must not keep an alarm back."""
    reanalysis = Reanalysis(scorer(FakeModel(broken)), personal(), attempts=3, retry_after=0.5)
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
        await Classification(scorer(FakeModel(always(0.9)), store), personal()).handle(work())
    other = Scorer(FakeStore(), FakeModel(always(0.9)), UnsealingKey(bytes(PrivateKey.generate())), LOOKUP)
    with pytest.raises(Unsealable):
        await Reanalysis(other, personal()).handle(work(attempt=9))


async def test_the_model_sees_the_history_that_the_store_holds() -> None:
    """Text alone ranks far worse than text with history."""
    store, model = FakeStore(), FakeModel(always(0.9))
    root = 12345
    store.set("received\nada@example.net", 10)
    store.set("prompt\nada@example.net", 5, last=1.69e9)
    store.set("thread\n1@x", 1, link=root)
    store.set(f"posts\n{root}", 4, last=1.69e9)
    await Classification(scorer(model, store), personal()).handle(work())
    seen = dict(zip(history.FEATURES, model.calls[0][0].features.tolist(), strict=True))

    assert seen["recipient_received"] == 10
    assert seen["thread_posts"] == 4
    assert seen["recipient_rate"] == pytest.approx((5 + 0.4) / 14)


async def test_a_decision_tells_what_the_arrival_adds_under_keys_that_tell_nothing() -> None:
    """The history grows in the hop's own commit; the store never learns a name."""
    outcome = await Classification(scorer(FakeModel(always(0.9))), personal()).handle(work())
    message = parse(MAIL)
    names = [one.key for one in history.seen(message, "ada@example.net", 0, {})]

    assert isinstance(outcome, Urgent)
    assert outcome.observation is not None
    assert [one.key for one in outcome.observation.seen] == [LOOKUP.counter(name) for name in names]
    where = history.place(message, "ada@example.net", {})
    expected = [(LOOKUP.counter(one.key), one.until) for one in history.acted(message, "ada@example.net", where)]
    assert [(one.key, one.until) for one in outcome.observation.reaction] == expected


async def test_only_the_final_decision_adds_to_the_history() -> None:
    """Otherwise reanalysis would find this very mail in the history, and count it twice."""
    uncertain = await Classification(scorer(FakeModel(always(0.55))), personal()).handle(work())
    final = await Reanalysis(scorer(FakeModel(always(0.55))), personal()).handle(work())

    assert isinstance(uncertain, Uncertain)
    assert uncertain.observation is None
    assert isinstance(final, Urgent)
    assert final.observation is not None


async def test_what_a_mail_adds_once_is_not_added_for_every_recipient() -> None:
    """A mail to a hundred people is one mail sent."""
    first = await Classification(scorer(FakeModel(always(0.9))), personal()).handle(work(ordinal=0))
    second = await Classification(scorer(FakeModel(always(0.9))), personal()).handle(work(ordinal=1))

    assert isinstance(first, Urgent)
    assert isinstance(second, Urgent)
    assert first.observation is not None
    assert second.observation is not None
    assert len(first.observation.seen) > len(second.observation.seen) > 0


async def test_claims_that_come_together_are_scored_together_and_each_gets_its_own_score() -> None:
    """A batch is quicker; a score in the wrong hands would be a disaster."""
    model = FakeModel(lambda example: 0.9 if "alarm" in example.text else 0.1)
    classification = Classification(scorer(model), personal())
    mails = [MAIL.replace(b"Disk full", b"alarm" if n % 3 == 0 else b"news" + b"!" * n) for n in range(9)]
    outcomes = await asyncio.gather(*(classification.handle(work(mail)) for mail in mails))

    assert [type(outcome) for outcome in outcomes] == [Urgent if n % 3 == 0 else NotUrgent for n in range(9)]
    assert len(model.calls) < len(mails)


async def test_one_bad_mail_does_not_fail_its_batch_mates() -> None:
    """One sender must not be able to open the gate for everybody else's mail."""

    def score(example: Example) -> float:
        return broken(example) if "poison" in example.text else 0.9

    classification = Classification(scorer(FakeModel(score)), personal())
    mails = [MAIL.replace(b"Disk full", b"poison" if n == 3 else b"x") for n in range(6)]
    outcomes = await asyncio.gather(*(classification.handle(work(mail)) for mail in mails))

    assert [type(outcome) for outcome in outcomes] == [Unscored if n == 3 else Urgent for n in range(6)]
