"""The payment stage asks for the policies of this recipient and this sender, and for nothing else."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from serving.payment.stage import Payment
from serving.pipeline import Held, Hold, Unfunded, Waived
from serving.stage import Work
from tests.unit import works

RECIPIENT = b"\x01" * 32


class Policies:
    """Answers the two queries of the stage from what is enrolled; changes nothing."""

    def __init__(self, recipients: Mapping[str, Any], senders: Mapping[str, Any]) -> None:
        self._rows = {"recipient": recipients, "sender_policy": senders}

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        (key,) = parameters.values()
        rows = self._rows[name]
        return [{"policy": rows[key]}] if key in rows else []

    async def execute(self, name: str, /, **_: Any) -> dict[str, Any]:
        raise AssertionError(f"{name}: the hop's own commit makes the hold, not the stage")


def work(**facts: Any) -> Work:
    return works.work(recipient=RECIPIENT, principal="hospital", facts=facts)


def payment(recipient: Any = None, sender: Any = None) -> Payment:
    recipients = {} if recipient is None else {RECIPIENT.hex(): recipient}
    senders = {} if sender is None else {"hospital": sender}
    return Payment(Policies(recipients, senders), price=5, currency="EUR", wait=60.0, clock=lambda: 1000.0)


async def test_it_asks_for_a_hold_of_the_recipients_price() -> None:
    """The price of this recipient, not of another."""
    outcome = await payment(recipient={"price": 9}).handle(work())

    assert outcome == Held(Hold(9, "EUR"))


async def test_a_recipient_nobody_enrolled_is_asked_for_the_stated_price() -> None:
    """Unknown to us is no reason to crash nor to deliver free."""
    outcome = await payment().handle(work())

    assert outcome == Held(Hold(5, "EUR"))


async def test_a_life_safety_sender_is_delivered_at_once() -> None:
    """No empty wallet may stand before a warning that saves lives."""
    outcome = await payment(sender={"life_safety": True}).handle(work())

    assert outcome == Waived("life_safety")


async def test_a_waiver_of_an_earlier_stage_is_kept() -> None:
    """What failed open is our failure; nobody pays for it."""
    outcome = await payment().handle(work(waiver="failed_open"))

    assert outcome == Waived("failed_open")


@pytest.mark.parametrize(("accepted_at", "until"), [(999.0, 1005.0), (980.0, 1020.0), (10.0, 1060.0)])
async def test_what_the_wallet_lacks_is_said_with_a_time_to_look_again(accepted_at: float, until: float) -> None:
    """A top-up between refusal and parking wakes nobody: look soon, then seldom, and never later than the wait."""
    stage = payment(recipient={"price": 9})
    await stage.handle(work())

    outcome = stage.unfunded(replace(work(), accepted_at=accepted_at))

    assert outcome == Unfunded(9, "EUR", until)
