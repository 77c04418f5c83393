"""What a recipient's own word does to the model's, where the mail is read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from serving.classification import Classification
from serving.pipeline import NotUrgent, Outcome, Postponed, Urgent
from serving.reanalysis import Reanalysis
from serving.wishes.lists import Lists, Match
from tests.unit.scorers import CONTENT, FakeModel, FakeStore, always, personal, scorer, work

NIGHT = datetime(2026, 11, 29, 23, tzinfo=UTC).timestamp()
MORNING = datetime(2026, 11, 30, 7, tzinfo=UTC).timestamp()
QUIET = {"quiet": ["22:00", "07:00"], "urgent": "waits"}
SENDER, WORDS = Match("never", "sender", 1), Match("never", "words", 1)


def listed(**lists: list[str]) -> dict[str, Any]:
    octets = Lists(tuple(lists.get("always", [])), tuple(lists.get("never", []))).written()
    return {"lists": CONTENT.sealing_key.seal(octets).hex()}


async def decided(
    score: float, wishes: dict[str, Any], policy: dict[str, Any] | None = None, *, now: float = NIGHT
) -> Outcome:
    store = FakeStore()
    store.wishes, store.policy = wishes, policy or {}
    return await Classification(scorer(FakeModel(always(score)), store), personal(store, now)).handle(work())


@pytest.mark.parametrize(
    ("score", "wishes", "outcome", "match"),
    [
        (0.9, {}, Urgent, None),
        (0.9, listed(never=["example.org"]), NotUrgent, SENDER),
        (0.9, listed(never=["ops@example.org"]), NotUrgent, SENDER),
        (0.9, listed(never=["words:full"]), Urgent, None),
        (0.9, listed(always=["example.org"]), Urgent, None),
        (0.1, listed(never=["example.org"]), NotUrgent, SENDER),
        (0.1, listed(never=["words:disk full"]), NotUrgent, WORDS),
        (0.1, listed(always=["words:db1"]), NotUrgent, Match("always", "words", 1)),
        (0.1, listed(never=["example.net"]), NotUrgent, None),
    ],
)
async def test_a_sender_that_never_passes_is_not_urgent_and_words_touch_no_urgent_mail(
    score: float, wishes: dict[str, Any], outcome: type[Outcome], match: Match | None
) -> None:
    """A newsletter that sounds urgent can be kept away; an alarm that holds a word cannot."""
    found = await decided(score, wishes)

    assert type(found) is outcome
    assert getattr(found, "match", None) == match
    assert isinstance(found, Urgent | NotUrgent)
    assert found.prediction.label == ("urgent" if score == 0.9 else "not_urgent")  # what the model said is kept


async def test_what_is_registered_as_life_safety_passes_every_list_and_all_quiet_hours() -> None:
    """Nobody's list may stand between a patient's monitor and the ward."""
    policy = {"life_safety": True}

    assert isinstance(await decided(0.9, listed(never=["example.org"]), policy), Urgent)
    assert isinstance(await decided(0.9, QUIET, policy), Urgent)
    assert isinstance(await decided(0.9, QUIET, {"life_safety": "yes"}), Postponed)


@pytest.mark.parametrize(
    ("wishes", "now", "until"),
    [
        (QUIET, NIGHT, MORNING),
        (QUIET, MORNING, None),
        ({"quiet": QUIET["quiet"]}, NIGHT, None),
        ({**QUIET, "urgent": "overrides"}, NIGHT, None),
        ({"urgent": "waits"}, NIGHT, None),
    ],
)
async def test_urgent_mail_overrides_quiet_hours_unless_it_was_wished_to_wait(
    wishes: dict[str, Any], now: float, until: float | None
) -> None:
    """It is put off to their end and stays urgent: it is paid for and delivered then."""
    outcome = await decided(0.9, wishes, now=now)

    assert getattr(outcome, "until", None) == until
    assert isinstance(outcome, Postponed if until else Urgent)


async def test_the_second_look_hears_the_recipient_too() -> None:
    """A score in the narrow band must not be a way around a list."""
    store = FakeStore()
    store.wishes = listed(never=["example.org"])
    outcome = await Reanalysis(scorer(FakeModel(always(0.55)), store, max_length=256), personal(store)).handle(work())

    assert isinstance(outcome, NotUrgent)
    assert outcome.match == SENDER


@pytest.mark.parametrize("lists", ["00" * 90, CONTENT.sealing_key.seal(b"[]").hex()])
async def test_lists_that_cannot_be_read_hold_up_no_mail(lists: str, caplog: pytest.LogCaptureFixture) -> None:
    """Their key may be gone, and an alarm must still go out."""
    outcome = await decided(0.9, {"lists": lists})

    assert isinstance(outcome, Urgent)
    assert "lists cannot be read" in caplog.text
