"""The payment stage: what it asks for, and what becomes of a notification whose payer has no money."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from serving.errors import Temporary
from serving.payment.policy import Defaults
from serving.payment.provider import Absent, Answer, Declined, Done, NeedsPayer, Order, Provider, Unknown
from serving.payment.stage import Payment
from serving.pipeline import Digested, Due, Free, Held, Lapsed, Outcome, Owed, Unfunded, Waived
from serving.stage import Work
from serving.values import Hold
from tests.unit import works

RECIPIENT = b"\x01" * 32
WALLET = f"wallet:{RECIPIENT.hex()}"
CARD = f"card:stripe:{RECIPIENT.hex()}"
NOVEMBER = f"wallet:free:{RECIPIENT.hex()}:2026-11"
NOW = 1_795_600_000.0  # in November 2026


@dataclass
class Store:
    """Policies as they are enrolled, and the accounts of free notifications."""

    recipients: Mapping[str, Any] = field(default_factory=dict)
    senders: Mapping[str, Any] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)

    begun: set[str] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        (key,) = parameters.values()
        if name == "intent":
            return [{"state": "open"}] if key in self.begun else []
        if name == "balance":
            return [{"balance": self.balances[key]}] if key in self.balances else []
        rows = self.recipients if name == "recipient" else self.senders
        return [{"policy": rows[key]}] if key in rows else []

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        if name == "open_intent":
            return {"state": "open" if parameters["key"] in self.begun else "opened", "outcome": None}
        if name == "close_intent":
            self.ended[parameters["key"]] = parameters["state"]
            return {"state": parameters["state"]}
        assert name == "grant_allowance", "the hop's own commit makes the hold, not the stage"
        self.balances.setdefault(parameters["account"], parameters["count"])
        return {"granted": True}


def work(**facts: Any) -> Work:
    return replace(works.work(recipient=RECIPIENT, principal="hospital", facts=facts), accepted_at=NOW - 10.0)


def payment(
    recipient: Any = None, sender: Any = None, store: Store | None = None, provider: Provider | None = None
) -> Payment:
    store = store or Store()
    store.recipients = {} if recipient is None else {RECIPIENT.hex(): recipient}
    store.senders = {} if sender is None else {"hospital": sender}
    return Payment(store, Defaults(5, "EUR", 60.0), provider=provider, clock=lambda: NOW)


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

    assert found == Unfunded(5, "EUR", NOW, NOW + 60.0)


async def test_a_payer_without_money_is_asked_once_and_has_the_whole_time() -> None:
    """It counts from the first look, not from the acceptance: mail that waited for a key is asked for too."""
    late = replace(work(), accepted_at=NOW - 3 * 86_400.0)
    stage = payment(recipient={"price": 9})

    assert await shortfall(stage, late) == Due(9, "EUR", NOW + 60.0)
    assert await shortfall(stage, work(asked="8", due=due(9, NOW + 60.0))) == Unfunded(9, "EUR", NOW + 5.0, NOW + 60.0)


async def test_a_sender_without_money_is_not_asked_by_mail() -> None:
    """It was told at the door (402); a mail to a machine moves nothing."""
    stage = payment(sender={"pays": "sender"})
    first = await shortfall(stage, work())
    again = await shortfall(stage, work(unfunded={"amount": 5, "currency": "EUR", "until": 0.0, "deadline": NOW - 1.0}))

    assert first == Unfunded(5, "EUR", NOW + 5.0, NOW + 60.0)
    assert again == Lapsed(5, "EUR", "wallet:sender:hospital")


@pytest.mark.parametrize(
    ("left", "until"), [(59.0, NOW + 5.0), (40.0, NOW + 20.0), (15.0, NOW + 15.0), (0.2, NOW + 1.0)]
)
async def test_a_wallet_is_looked_into_soon_then_seldom_and_at_the_end(left: float, until: float) -> None:
    """A top-up between refusal and parking wakes nobody; and a store whose clock is ahead must not make us spin."""
    found = await shortfall(payment(), work(asked="8", due=due(5, NOW + left)))

    assert found == Unfunded(5, "EUR", until, NOW + left)


async def test_what_was_asked_for_holds_whatever_the_price_is_since() -> None:
    """The page says five cents; a policy that changed meanwhile is for the next mail."""
    assert await payment({"price": 900}).handle(work(asked="8", due=due(5, NOW + 9.0))) == Held(Hold(5, "EUR", WALLET))


@pytest.mark.parametrize(
    ("then", "outcome"),
    [
        ("expire", Lapsed(5, "EUR", WALLET)),
        ("deliver", Owed(Hold(5, "EUR", f"debt:{WALLET}"))),
        ("digest", Digested(NOW, "nobody paid in time")),
    ],
)
async def test_when_the_time_is_over_the_policy_decides(then: str, outcome: Outcome) -> None:
    """Told to the sender, delivered and owed, or put into the digest: written beforehand, never guessed."""
    found = await shortfall(payment({"then": then}), work(asked="8", due=due(5, NOW)))

    assert found == outcome


@dataclass
class Cards:
    """Holds saved cards, and says how a hold of this key stands."""

    answer: Answer
    asked: list[str] = field(default_factory=list)
    name: str = "stripe"

    async def perform(self, order: Order) -> Answer:
        self.asked.append(f"perform {order.key}")
        return self.answer

    async def find(self, order: Order) -> Answer | Absent:
        self.asked.append(f"find {order.key}")
        return self.answer


@pytest.mark.parametrize(
    ("answer", "outcome", "ended"),
    [
        (Done("pi_1"), Held(Hold(5, "EUR", CARD, "pi_1")), "done"),
        (Declined("no_saved_card"), Due(5, "EUR", NOW + 60.0), "refused"),
        (NeedsPayer("https://pay.example/3ds"), Due(5, "EUR", NOW + 60.0), None),
    ],
)
async def test_a_saved_card_is_held_where_the_wallet_is_empty(
    answer: Answer, outcome: Outcome, ended: str | None
) -> None:
    """Only where the recipient wants that; a card that cannot be held is no reason not to ask."""
    store = Store()
    stage = payment({"card": True}, store=store, provider=Cards(answer))

    assert await shortfall(stage, work()) == outcome
    assert store.ended == ({"7:hold": ended} if ended else {})


async def test_a_card_that_may_be_held_is_asked_about_before_anything_else_is_tried() -> None:
    """Else money that comes meanwhile would pay a second time, and the card stay held."""
    store = Store(begun={"7:hold"})
    cards = Cards(Done("pi_1"))
    stage = payment({"card": True}, store=store, provider=cards)
    with pytest.raises(Temporary):
        await shortfall(payment({"card": True}, store=Store(), provider=Cards(Unknown("no answer"))), work())

    assert await stage.handle(work()) == Held(Hold(5, "EUR", CARD, "pi_1"))
    assert cards.asked == ["find 7:hold"]


def due(amount: int, until: float) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR", "until": until}


async def test_a_hold_says_until_when_it_is_good() -> None:
    """Delivery stops by then: before a provider lets its part go, and never after."""
    defaults = Defaults(5, "EUR", 60.0, hold_for=100.0)

    assert await Payment(Store(), defaults, clock=lambda: NOW).handle(work()) == Held(
        Hold(5, "EUR", WALLET, until=NOW + 100.0)
    )
