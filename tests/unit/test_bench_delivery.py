"""What the benchmark of delivery concludes: whether a history is whole, and how long most mails took."""

from typing import Any

import pytest

from experiments.benchmarks.delivery.arrivals import spread
from experiments.benchmarks.delivery.histories import is_whole

WHOLE: list[dict[str, Any]] = [
    {"kind": "accepted", "stage": None, "next": "authentication"},
    {"kind": "authenticated", "stage": "authentication", "next": "classification"},
    {"kind": "failed", "stage": "classification", "next": None},
    {"kind": "urgent", "stage": "classification", "next": "delivered"},
]
ENDED: dict[str, Any] = {"stage": None, "state": "delivered"}


def test_a_history_is_whole_from_its_acceptance_to_where_it_is() -> None:
    """A note on the way moves nothing."""
    assert is_whole(ENDED, WHOLE)
    assert is_whole({"stage": "classification", "state": "queued"}, WHOLE[:2])


@pytest.mark.parametrize(
    ("row", "events"),
    [
        (ENDED, []),
        (ENDED, WHOLE[1:]),
        (ENDED, [WHOLE[0], WHOLE[3]]),
        (ENDED, WHOLE[:2]),
        ({"stage": "delivery", "state": "queued"}, WHOLE),
    ],
)
def test_a_history_with_a_gap_is_not_whole(row: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """Otherwise the count of whole histories says nothing."""
    assert not is_whole(row, events)


def test_one_slow_mail_in_two_hundred_is_the_most_and_not_the_99th_percentile() -> None:
    """The claims are about the 99th percentile, in milliseconds."""
    found = spread([0.01] * 199 + [9.0])

    assert found == {"mails": 200, "p50_ms": 10.0, "p99_ms": 10.0, "max_ms": 9_000.0}
