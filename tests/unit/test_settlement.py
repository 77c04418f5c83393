"""The settle stage: captured, unbilled or returned, and money is released only for what was delivered."""

from typing import Any

import pytest

from serving.errors import ClarionError, Temporary
from serving.pipeline import Captured, Returned, Unbilled
from serving.settlement import Settlement
from serving.stage import Work
from serving.values import Hold
from tests.unit import works

RECEIPT = {"code": 250, "text": "2.0.0 Kept", "message_id": "<1@clarion.invalid>"}
RECIPIENT = bytes(range(32))
WALLET = f"wallet:{RECIPIENT.hex()}"
HOLD = {"amount": 5, "currency": "EUR", "account": WALLET}


class Provider:
    """Releases, and remembers what; `reluctant` until told otherwise."""

    def __init__(self, *, reluctant: bool = False) -> None:
        self.released: list[tuple[int, Hold]] = []
        self.freed: list[tuple[int, Hold]] = []
        self.reluctant = reluctant

    async def release(self, notification: int, recipient: bytes, hold: Hold) -> None:
        self._answer(recipient)
        self.released.append((notification, hold))

    async def void(self, notification: int, recipient: bytes, hold: Hold) -> None:
        self._answer(recipient)
        self.freed.append((notification, hold))

    def _answer(self, recipient: bytes) -> None:
        assert recipient == RECIPIENT
        if self.reluctant:
            raise Temporary("no answer")


def settlement(provider: Provider) -> Settlement:
    return Settlement(provider.release, provider.void)


def work(**facts: Any) -> Work:
    return works.work(recipient=RECIPIENT, principal="p", facts=facts)


async def test_a_delivered_notification_is_captured_after_the_provider_released_its_hold() -> None:
    """This is where money is earned: exactly the hold, for exactly this notification."""
    provider = Provider()

    outcome = await settlement(provider).handle(work(receipt=RECEIPT, hold=HOLD))

    assert outcome == Captured(5)
    assert provider.released == [(7, Hold(5, "EUR", WALLET))]


async def test_nothing_is_captured_while_the_provider_has_not_answered() -> None:
    """A capture that the provider does not know would leave the two books apart."""
    with pytest.raises(Temporary):
        await settlement(Provider(reluctant=True)).handle(work(receipt=RECEIPT, hold=HOLD))


async def test_what_nobody_pays_for_ends_unbilled_with_its_waiver() -> None:
    """The statement must say why there is no price."""
    provider = Provider()

    outcome = await settlement(provider).handle(work(receipt=RECEIPT, waiver="life_safety"))

    assert outcome == Unbilled("life_safety")
    assert provider.released == []


@pytest.mark.parametrize(("hold", "amount"), [(HOLD, 5), (None, 0)])
async def test_what_was_not_delivered_is_given_back_and_never_released(
    hold: dict[str, Any] | None, amount: int
) -> None:
    """Nobody is charged for a notification that was not delivered."""
    provider = Provider()
    facts = {"undeliverable": "550 5.1.1 unknown"} | ({"hold": hold} if hold else {})

    outcome = await settlement(provider).handle(work(**facts))

    assert outcome == Returned(amount, "550 5.1.1 unknown")
    assert provider.released == []


async def test_without_a_receipt_or_a_refusal_nothing_is_settled() -> None:
    """A hold must not be moved on a guess."""
    with pytest.raises(ClarionError, match="neither"):
        await settlement(Provider()).handle(work(hold=HOLD))


async def test_a_card_that_was_held_is_free_before_the_books_say_so() -> None:
    """What our ledger gives back must not stay blocked on somebody's card."""
    facts = {"undeliverable": "550 5.1.1 unknown", "hold": HOLD}
    with pytest.raises(Temporary):
        await settlement(Provider(reluctant=True)).handle(work(**facts))
    provider = Provider()

    assert await settlement(provider).handle(work(**facts)) == Returned(5, "550 5.1.1 unknown")
    assert provider.freed == [(7, Hold(5, "EUR", WALLET))]
