"""What becomes of mail that is not urgent."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.pipeline import Delayed, Digested, Discarded
from serving.stage import Work
from serving.triage import LONGEST_STRETCH, Triage
from tests.unit import works

NOW = 1_000_000.0
VERIFIED = {"outcome": "authenticated", "method": "api_key"}
UNVERIFIED = {"outcome": "unverified", "reason": "no From; set From"}
CERTIFIED = {
    "label": "not_urgent",
    "score": 0.01,
    "bound": 0.002,
    "may_discard": True,
    "model_version": "1",
    "discard_threshold": 0.02,
    "confidence": 0.95,
}
UNCERTIFIED = CERTIFIED | {"bound": None, "may_discard": False, "discard_threshold": None, "confidence": None}


class Broker:
    """Holds one recipient's wishes and the depths, and counts how often the depths are asked for."""

    def __init__(self, wishes: Mapping[str, Any] | None, waiting: int = 0) -> None:
        self.depths_asked = 0
        self._wishes = wishes
        self._waiting = waiting

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        if name == "recipient":
            assert parameters == {"lookup": (b"r" * 32).hex()}
            return [] if self._wishes is None else [{"wishes": self._wishes}]
        assert name == "depths"
        self.depths_asked += 1
        return [
            {"stage": "classification", "state": "queued", "count": self._waiting},
            {"stage": "digest", "state": "deferred", "count": 50_000},
        ]


def _work(facts: Mapping[str, Any], accepted_at: float = NOW - 10.0) -> Work:
    return works.work(facts=facts, accepted_at=accepted_at)


async def _decide(
    broker: Broker, authentication: Mapping[str, Any], prediction: Mapping[str, Any] = UNCERTIFIED
) -> Discarded | Digested | Delayed:
    return await Triage(broker, lambda: NOW).handle(_work({"authentication": authentication, "prediction": prediction}))


async def test_a_wish_to_discard_is_followed_below_the_certified_threshold_and_prints_the_bound() -> None:
    """Promise 5: what is discarded is discarded within a stated bound, printed on the decision."""
    outcome = await _decide(Broker({"not_urgent": "discard"}), VERIFIED, CERTIFIED)

    assert isinstance(outcome, Discarded)
    assert "with 95% confidence less than 0.2% of urgent mail scores at or below 0.02" in outcome.rule
    assert (outcome.score, outcome.threshold, outcome.bound) == (0.01, 0.02, 0.002)


@pytest.mark.parametrize(
    "prediction",
    [
        UNCERTIFIED,
        {},
        {"may_discard": 1},
        *(CERTIFIED | {name: None} for name in ("bound", "discard_threshold", "confidence", "score")),
        CERTIFIED | {"may_discard": False},
        CERTIFIED | {"score": 0.021},
        {name: value for name, value in CERTIFIED.items() if name not in ("discard_threshold", "confidence")},
    ],
)
async def test_nothing_is_discarded_without_a_certificate(prediction: Mapping[str, Any]) -> None:
    """Until the champion carries a bound, a wish to discard only defers."""
    assert isinstance(await _decide(Broker({"not_urgent": "discard"}), VERIFIED, prediction), Digested)


@pytest.mark.parametrize("wish", ["digest", "delay", "discard"])
@pytest.mark.parametrize("authentication", [UNVERIFIED, {}])
async def test_unverified_mail_always_goes_to_the_digest(wish: str, authentication: Mapping[str, Any]) -> None:
    """An unproven sender may neither vanish nor arrive as a mail of its own."""
    outcome = await _decide(Broker({"not_urgent": wish}), authentication, CERTIFIED)

    assert isinstance(outcome, Digested)
    assert "unverified" in outcome.rule


@pytest.mark.parametrize("wishes", [None, {}, {"not_urgent": "burn"}, {"not_urgent": None, "digest_every": "soon"}])
async def test_without_a_wish_that_makes_sense_mail_is_digested_daily(wishes: Mapping[str, Any] | None) -> None:
    """A recipient who said nothing, or something broken, loses nothing."""
    assert await _decide(Broker(wishes), VERIFIED) == Digested(12 * 86_400.0, "the recipient's digest")


@settings(deadline=None)
@given(st.floats(0, 4e9), st.integers(60, 30 * 86_400))
async def test_a_digest_is_due_at_the_next_multiple_of_its_period(now: float, period: int) -> None:
    """All mail of one period must fall due together, or a recipient gets a digest a mail."""
    triage = Triage(Broker({"digest_every": period}), lambda: now)
    outcome = await triage.handle(_work({"authentication": VERIFIED}))

    assert isinstance(outcome, Digested)
    assert now < outcome.until <= now + period
    assert outcome.until % period == 0


async def test_a_delay_counts_from_acceptance_and_never_ends_in_the_past() -> None:
    """A second attempt at triage must not start the delay anew."""
    triage = Triage(Broker({"not_urgent": "delay", "delay": 600}), lambda: NOW)
    facts = {"authentication": VERIFIED}

    assert await triage.handle(_work(facts, NOW - 10)) == Delayed(NOW + 590, "the recipient's delay")
    assert await triage.handle(_work(facts, NOW - 9_000)) == Delayed(NOW, "the recipient's delay")


@pytest.mark.parametrize(("waiting", "stretch"), [(0, 1.0), (1_000, 1.0), (2_500, 2.5), (10**6, LONGEST_STRETCH)])
async def test_load_lengthens_a_delay_by_the_stated_rule_and_no_further(waiting: int, stretch: float) -> None:
    """Under load what is not urgent waits longer, never for ever."""
    triage = Triage(Broker({"not_urgent": "delay", "delay": 600}, waiting), lambda: NOW)
    outcome = await triage.handle(_work({"authentication": VERIFIED}, NOW))

    assert isinstance(outcome, Delayed)
    assert outcome.until == NOW + 600 * stretch
    assert ("by load" in outcome.rule) == (stretch > 1.0)


async def test_the_load_is_asked_for_once_in_a_while_only() -> None:
    """A count over the whole store for every notification would be load itself."""
    broker = Broker({"not_urgent": "delay"})
    times = iter([NOW + tenth / 10 for tenth in range(1000)])
    triage = Triage(broker, lambda: next(times))
    for _ in range(40):
        await triage.handle(_work({"authentication": VERIFIED}))

    assert 1 < broker.depths_asked <= 3


LISTED = {"by": "sender", "number": 3}
ALWAYS, NEVER = {**LISTED, "list": "always"}, {**LISTED, "list": "never"}
QUIET = {"quiet": ["00:00", "23:59"]}
QUIET_UNTIL = 12 * 86_400.0 - 60  # NOW is 13:46 on the 12th day


async def _matched(wishes: Mapping[str, Any], match: Mapping[str, Any], **facts: Any) -> Discarded | Digested | Delayed:
    stated = {"authentication": VERIFIED, "prediction": CERTIFIED, "match": match, **facts}
    return await Triage(Broker(wishes), lambda: NOW).handle(_work(stated))


@pytest.mark.parametrize("wish", ["digest", "delay", "discard", "deliver"])
async def test_what_always_passes_is_delivered_at_once_and_free_whatever_is_wished_of_the_rest(wish: str) -> None:
    """It is never made urgent and paid by a list; and below a certified threshold it still passes."""
    outcome = await _matched({"not_urgent": wish}, ALWAYS)

    assert outcome == Delayed(NOW, "the recipient's list of what always passes, entry 3 (sender)")


@pytest.mark.parametrize("wish", ["digest", "delay", "deliver"])
async def test_what_never_passes_is_digested(wish: str) -> None:
    """Nothing is thrown away because it is on a list."""
    outcome = await _matched({"not_urgent": wish}, NEVER)

    assert isinstance(outcome, Digested)
    assert outcome.rule == "the recipient's list of what never passes, entry 3 (sender)"


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [(CERTIFIED, Discarded), (UNCERTIFIED, Digested), (CERTIFIED | {"score": 0.9, "may_discard": False}, Digested)],
)
async def test_what_never_passes_is_discarded_within_the_bound_alone(
    prediction: Mapping[str, Any], expected: type[Any]
) -> None:
    """Promise 5 holds for lists too: an urgent score that a list keeps away is read in the digest."""
    outcome = await _matched({"not_urgent": "discard"}, NEVER, prediction=prediction)

    assert isinstance(outcome, expected)
    assert "entry 3" in outcome.rule


@pytest.mark.parametrize("match", [ALWAYS, NEVER])
async def test_no_list_counts_for_a_sender_that_nothing_proves(match: Mapping[str, Any]) -> None:
    """Whoever claims an address that always passes would pass."""
    outcome = await _matched({"not_urgent": "discard"}, match, authentication=UNVERIFIED)

    assert isinstance(outcome, Digested)
    assert outcome.rule == "the sender is unverified"


@pytest.mark.parametrize(
    ("wishes", "match"),
    [({"not_urgent": "deliver"}, None), ({"not_urgent": "delay", "delay": 60}, None), ({}, None), ({}, ALWAYS)],
)
async def test_quiet_hours_put_off_whatever_is_not_urgent_and_drop_nothing(
    wishes: dict[str, Any], match: Mapping[str, Any] | None
) -> None:
    """A night's rest costs time and no mail."""
    outcome = await _matched({**wishes, **QUIET, "digest_every": 3_600}, match or {})

    assert isinstance(outcome, Digested | Delayed)
    assert outcome.until == QUIET_UNTIL
    if isinstance(outcome, Delayed):
        assert outcome.rule.endswith("; after the quiet hours")


async def test_what_is_to_be_delivered_at_once_waits_for_no_load() -> None:
    """The load rule stretches a delay, and there is none."""
    triage = Triage(Broker({"not_urgent": "deliver"}, 10**6), lambda: NOW)

    assert await triage.handle(_work({"authentication": VERIFIED})) == Delayed(
        NOW, "the recipient's wish to have it at once"
    )


@pytest.mark.parametrize("match", [{"list": "always"}, "always", {"list": "ever", "by": "sender", "number": 1}, 7])
async def test_a_match_that_cannot_be_read_is_none(match: Any) -> None:
    """Facts of another version must not fail a mail."""
    assert isinstance(await _matched({}, match), Digested)
