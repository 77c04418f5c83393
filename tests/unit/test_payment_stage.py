"""The payment stage: what it asks for, and what becomes of a notification whose payer has no money."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from serving.payment.policy import Defaults
from serving.payment.stage import Payment
from serving.pipeline import Digested, Due, Free, Held, Lapsed, Outcome, Owed, Unfunded, Waived
from serving.stage import Work
from serving.values import Hold
from tests.unit import works

RECIPIENT = b"\x01" * 32
WALLET = f"wallet:{RECIPIENT.hex()}"
NOVEMBER = f"wallet:free:{RECIPIENT.hex()}:2026-11"
NOW = 1_795_600_000.0  # in November 2026


@dataclass
class Store:
    """Policies as they are enrolled, and the accounts of free notifications."""

    recipients: Mapping[str, Any] = field(default_factory=dict)
    senders: Mapping[str, Any] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        (key,) = parameters.values()
        if name == "balance":
            return [{"balance": self.balances[key]}] if key in self.balances else []
        rows = self.recipients if name == "recipient" else self.senders
        return [{"policy": rows[key]}] if key in rows else []

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        assert name == "grant_allowance", "the hop's own commit makes the hold, not the stage"
        self.balances.setdefault(parameters["account"], parameters["count"])
        return {"granted": True}


def work(**facts: Any) -> Work:
    return replace(works.work(recipient=RECIPIENT, principal="hospital", facts=facts), accepted_at=NOW - 10.0)


def payment(recipient: Any = None, sender: Any = None, store: Store | None = None) -> Payment:
    store = store or Store()
    store.recipients = {} if recipient is None else {RECIPIENT.hex(): recipient}
    store.senders = {} if sender is None else {"hospital": sender}
    return Payment(store, Defaults(5, "EUR", 60.0), clock=lambda: NOW)


async def shortfall(stage: Payment, of: Work) -> Outcome:
    """What becomes of it when the broker has refused the hold."""
    await stage.handle(of)
    return await stage.unfunded(of)


async def test_it_asks_for_a_hold_of_the_recipients_price() -> None:
    """The price of this recipient, not of another, from this recipient's wallet."""
    assert await payment(recipient={"price": 9}).handle(work()) == Held(Hold(9, "EUR", WALLET))


async def test_a_recipient_nobody_enrolled_is_asked_for_the_stated_price() -> None:
    """Unknown to us is no reason to crash nor to deliver free."""
    assert await payment().handle(work()) == Held(Hold(5, "EUR", WALLET))


async def test_a_sender_who_pays_does_so_from_its_own_wallet() -> None:
    """A bank that wants its mail read does not ask its customers for the price."""
    assert await payment(sender={"pays": "sender"}).handle(work()) == Held(Hold(5, "EUR", "wallet:sender:hospital"))


async def test_a_life_safety_sender_is_delivered_at_once() -> None:
    """No empty wallet may stand before a warning that saves lives."""
    assert await payment(sender={"life_safety": True}).handle(work()) == Waived("life_safety")


async def test_a_waiver_of_an_earlier_stage_is_kept() -> None:
    """What failed open is our failure; nobody pays for it."""
    assert await payment().handle(work(waiver="failed_open")) == Waived("failed_open")


@pytest.mark.parametrize(
    ("left", "outcome"), [(None, Free(NOVEMBER)), (1, Free(NOVEMBER)), (0, Held(Hold(5, "EUR", WALLET)))]
)
async def test_the_months_free_ones_come_first(left: int | None, outcome: Outcome) -> None:
    """None was counted yet, one is left, none is left."""
    store = Store(balances={} if left is None else {NOVEMBER: left})

    assert await payment({"free": 3}, store=store).handle(work()) == outcome


async def test_who_was_too_late_for_the_last_free_one_looks_again_at_once() -> None:
    """Two workers saw one free notification; the slower one must not ask a payer whose wallet is full."""
    found = await shortfall(payment({"free": 1}), work())

    assert found == Unfunded(5, "EUR", NOW)


async def test_a_payer_without_money_is_asked_once() -> None:
    """The request says until when there is time; having been asked, it waits."""
    stage = payment(recipient={"price": 9})

    assert await shortfall(stage, work()) == Due(9, "EUR", NOW + 50.0)
    assert await shortfall(stage, work(asked="8")) == Unfunded(9, "EUR", NOW + 10.0)


async def test_a_sender_without_money_is_not_asked_by_mail() -> None:
    """It was told at the door (402); a mail to a machine moves nothing."""
    assert await shortfall(payment(sender={"pays": "sender"}), work()) == Unfunded(5, "EUR", NOW + 10.0)


@pytest.mark.parametrize(("age", "until"), [(1.0, NOW + 5.0), (20.0, NOW + 20.0), (45.0, NOW + 15.0)])
async def test_a_wallet_is_looked_into_soon_then_seldom_and_at_the_end(age: float, until: float) -> None:
    """A top-up between refusal and parking wakes nobody; and the policy's time is kept to the second."""
    found = await shortfall(payment(), replace(work(asked="8"), accepted_at=NOW - age))

    assert found == Unfunded(5, "EUR", until)


@pytest.mark.parametrize(
    ("then", "outcome"),
    [
        ("expire", Lapsed(5, "EUR")),
        ("deliver", Owed(Hold(5, "EUR", f"debt:{WALLET}"))),
        ("digest", Digested(NOW, "nobody paid in time")),
    ],
)
async def test_when_the_time_is_over_the_policy_decides(then: str, outcome: Outcome) -> None:
    """Told to the sender, delivered and owed, or put into the digest: written beforehand, never guessed."""
    found = await shortfall(payment({"then": then}), replace(work(asked="8"), accepted_at=NOW - 60.0))

    assert found == outcome
