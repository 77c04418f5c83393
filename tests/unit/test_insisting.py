"""Asking the broker until it answers."""

from collections.abc import Awaitable, Callable

import pytest

from serving import insisting
from serving.errors import BrokerUnavailable, Refused
from serving.insisting import insist


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insisting, "AWAY", 0.0)
    monkeypatch.setattr(insisting, "FAILING", 0.0)


def answering(*answers: Exception | str) -> Callable[[], Awaitable[str]]:
    """Gives one after the other, and raises those that are errors."""
    left = iter(answers)

    async def ask() -> str:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


async def test_a_broker_that_is_away_and_a_store_that_fails_are_asked_again() -> None:
    """Both pass, and what was decided must not be lost meanwhile."""
    answer = await insist(answering(BrokerUnavailable("away"), Refused("storage"), BrokerUnavailable("away"), "done"))

    assert answer == "done"


async def test_any_other_refusal_is_the_answer() -> None:
    """It would come again for ever."""
    with pytest.raises(Refused, match="lease_lost"):
        await insist(answering(Refused("lease_lost"), "too late"))
