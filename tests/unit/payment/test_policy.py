"""Who pays, how much, how long it waits and what then: written policy and nothing else."""

from typing import Any

import pytest

from serving.payment.policy import LONGEST_WAIT, Defaults, Parties, Terms, decide
from serving.pipeline import Waived
from serving.values import Hold

RECIPIENT = bytes(range(32))
WALLET = f"wallet:{RECIPIENT.hex()}"
DEFAULTS = Defaults(5, "EUR", 3_600.0, "expire", 2)


def terms(recipient: Any = None, sender: Any = None, waiver: str | None = None) -> Terms | Waived:
    return decide(waiver, Parties(RECIPIENT, "bank", recipient or {}, sender or {}), DEFAULTS)


def test_the_recipient_pays_the_stated_price_when_no_policy_says_otherwise() -> None:
    """The default is the product: pay per notification."""
    assert terms() == Terms(Hold(5, "EUR", WALLET), 3_600.0, "expire", 2)


def test_the_recipients_own_terms_replace_the_stated_ones() -> None:
    """What was agreed with a recipient must be what is held, and how long it waits."""
    own = {"price": 12, "free": 7, "wait": 60, "then": "deliver"}

    assert terms(own, {"price": 9, "wait": 10, "then": "digest"}) == Terms(Hold(12, "EUR", WALLET), 60.0, "deliver", 7)


def test_a_senders_terms_hold_where_the_recipient_has_none() -> None:
    """A hospital's mail may cost less than a shop's."""
    assert terms({}, {"price": 2, "wait": 10, "then": "digest"}) == Terms(Hold(2, "EUR", WALLET), 10.0, "digest", 2)


def test_a_sender_who_pays_is_charged_from_its_own_wallet_and_asked_by_nobody() -> None:
    """The recipient's policy is about the recipient's money, and no mail asks a machine for it."""
    paid = [terms({"pays": False, "free": 9}, {"pays": "sender", **more}) for more in ({}, {"free": 3})]

    assert paid == [Terms(Hold(5, "EUR", "wallet:sender:bank"), 3_600.0, "expire", free, asks=False) for free in (0, 3)]


@pytest.mark.parametrize(
    ("waiver", "recipient", "sender", "reason"),
    [
        ("failed_open", {"price": 9}, {}, "failed_open"),
        ("failed_open", {"pays": False}, {"life_safety": True}, "failed_open"),
        (None, {"pays": False}, {}, "recipient_policy"),
        (None, {}, {"life_safety": True}, "life_safety"),
        (None, {}, {"pays": "sender", "life_safety": True}, "life_safety"),
        (None, {"price": 3}, {"pays": "nobody"}, "sender_policy"),
        (None, {}, {"pays": "somebody"}, "policy_unreadable"),
        (None, {"pays": "no"}, {}, "policy_unreadable"),
        (None, {"pays": 0}, {}, "policy_unreadable"),
        (None, {"pays": None}, {}, "policy_unreadable"),
        (None, {"price": 0}, {}, "free"),
    ],
)
def test_nobody_pays_where_something_waives_it(
    waiver: str | None, recipient: dict[str, object], sender: dict[str, object], reason: str
) -> None:
    """What fails open, saves lives or is free by contract is never charged, and its history says why."""
    assert terms(recipient, sender, waiver) == Waived(reason)


@pytest.mark.parametrize("price", [-1, 2.5, "7", True, None, 2**31])
def test_a_price_that_cannot_be_read_charges_nobody(price: object) -> None:
    """A typing mistake in a policy must not take money, nor keep an urgent mail."""
    assert terms({"price": price}) == Waived("policy_unreadable")


@pytest.mark.parametrize("value", ["yes", 1, "false"])
def test_only_a_true_waives_for_life_safety(value: object) -> None:
    """Delivering unpaid is a right that somebody granted in writing, not what a stray value grants."""
    assert isinstance(terms({}, {"life_safety": value}), Terms)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ({"wait": "soon"}, (3_600.0, "expire", 2)),
        ({"wait": -1}, (3_600.0, "expire", 2)),
        ({"wait": float("nan")}, (3_600.0, "expire", 2)),
        ({"wait": 1e12}, (LONGEST_WAIT, "expire", 2)),
        ({"then": "forget"}, (3_600.0, "expire", 2)),
        ({"free": -3}, (3_600.0, "expire", 2)),
        ({"free": 0}, (3_600.0, "expire", 0)),
    ],
)
def test_what_makes_no_sense_falls_back_to_the_defaults(written: dict[str, Any], kept: tuple[float, str, int]) -> None:
    """A typing mistake must neither hold mail for ever nor let it go at once."""
    found = terms(written)

    assert isinstance(found, Terms)
    assert (found.wait, found.then, found.free) == kept
