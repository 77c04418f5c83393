"""Who pays: written policy and nothing else."""

import pytest

from serving.payment.policy import decide
from serving.pipeline import Held, Hold, Waived


def test_the_recipient_pays_the_stated_price_when_no_policy_says_otherwise() -> None:
    """The default is the product: pay per notification."""
    outcome = decide(None, {}, {}, price=5, currency="EUR")

    assert outcome == Held(Hold(5, "EUR"))


def test_the_recipients_own_price_replaces_the_stated_one() -> None:
    """A price agreed with a recipient must be the one that is held."""
    outcome = decide(None, {"price": 12}, {}, price=5, currency="EUR")

    assert outcome == Held(Hold(12, "EUR"))


@pytest.mark.parametrize(
    ("waiver", "recipient", "sender", "reason"),
    [
        ("failed_open", {"price": 9}, {}, "failed_open"),
        ("failed_open", {"pays": False}, {"life_safety": True}, "failed_open"),
        (None, {"pays": False}, {}, "recipient_policy"),
        (None, {}, {"life_safety": True}, "life_safety"),
        (None, {"price": 0}, {}, "free"),
    ],
)
def test_nobody_pays_where_something_waives_it(
    waiver: str | None, recipient: dict[str, object], sender: dict[str, object], reason: str
) -> None:
    """What fails open, saves lives or is free by contract is never charged, and its history says why."""
    outcome = decide(waiver, recipient, sender, price=5, currency="EUR")

    assert outcome == Waived(reason)


@pytest.mark.parametrize("price", [-1, 2.5, "7", True, None])
def test_a_price_that_cannot_be_read_charges_nobody(price: object) -> None:
    """A typing mistake in a policy must not take money, nor keep an urgent mail."""
    outcome = decide(None, {"price": price}, {}, price=5, currency="EUR")

    assert outcome == Waived("policy_unreadable")


@pytest.mark.parametrize("value", ["yes", 1, "false"])
def test_only_a_true_waives_for_life_safety(value: object) -> None:
    """Delivering unpaid is a right that somebody granted in writing, not what a stray value grants."""
    outcome = decide(None, {}, {"life_safety": value}, price=5, currency="EUR")

    assert outcome == Held(Hold(5, "EUR"))
