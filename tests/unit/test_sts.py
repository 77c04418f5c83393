"""MTA-STS policies: what is fetched once holds until its own end."""

from typing import Any

import pytest
from postfix_mta_sts_resolver.resolver import STSFetchResult  # type: ignore[import-untyped]

from serving.delivery.sts import FRESH, StsPolicies, covers

ENFORCE = {"mode": "enforce", "mx": ["MX.lab.example."], "max_age": 86_400}


class Fetcher:
    """Gives the answers in turn, and the last one again and again."""

    def __init__(self, *answers: tuple[STSFetchResult, Any]) -> None:
        self._answers = list(answers)
        self.asked: list[str | None] = []

    async def resolve(self, _: str, last_known_id: str | None = None) -> tuple[STSFetchResult, Any]:
        self.asked.append(last_known_id)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


VALID = STSFetchResult.VALID, ("1", ENFORCE)
GONE = STSFetchResult.NONE, None
BROKEN = STSFetchResult.FETCH_ERROR, None
SAME = STSFetchResult.NOT_CHANGED, None


class Clock:
    """The time, in seconds since the epoch."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (VALID, ["mx.lab.example"]),
        ((STSFetchResult.VALID, ("1", {**ENFORCE, "mode": "testing"})), None),
        ((STSFetchResult.VALID, ("1", {**ENFORCE, "mode": "none"})), None),
        (GONE, None),
        (BROKEN, None),
    ],
)
async def test_only_a_policy_to_be_enforced_binds(answer: Any, names: list[str] | None, clock: Clock) -> None:
    """RFC 8461 section 5: testing and none deliver as without a policy."""
    assert await StsPolicies(Fetcher(answer), clock).enforced("lab.example") == names


@pytest.mark.parametrize("later", [GONE, BROKEN])
async def test_whoever_cuts_us_off_from_a_policy_does_not_strike_it_out(later: Any, clock: Clock) -> None:
    """Until its own end it holds (section 5.1), and then no longer."""
    policies = StsPolicies(Fetcher(VALID, later), clock)
    await policies.enforced("lab.example")
    clock.now += 86_399
    before = await policies.enforced("lab.example")
    clock.now += 2
    after = await policies.enforced("lab.example")

    assert before == ["mx.lab.example"]
    assert after is None


async def test_a_policy_that_has_not_changed_lives_on_and_is_not_fetched_for_each_mail(clock: Clock) -> None:
    """One question an hour; its id says whether there is anything new."""
    fetcher = Fetcher(VALID, SAME)
    policies = StsPolicies(fetcher, clock)
    for _ in range(30):
        for _ in range(3):
            assert await policies.enforced("lab.example") == ["mx.lab.example"]
        clock.now += FRESH

    assert fetcher.asked == [None] + ["1"] * 29


@pytest.mark.parametrize(
    ("host", "is_named"),
    [("mx.lab.example", True), ("a.mail.example", True), ("a.b.mail.example", False), ("mail.example", False)],
)
def test_a_star_stands_for_one_label(host: str, is_named: bool) -> None:
    """Section 4.1: as in a certificate."""
    assert covers(["mx.lab.example", "*.mail.example"], host) is is_named
