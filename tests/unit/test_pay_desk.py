"""What the pay page is told and what it moves: nothing by itself."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from serving.errors import Refused
from serving.payment import provider as providers
from serving.payment.desk import Offer, PayDesk
from serving.payment.provider import Absent, Answer, Order
from serving.payment.statement import LATEST
from serving.web.desk import BadToken, Credited, Declined, DueState, Pending, Redirect, TopUp
from serving.web.token import Links

NOW = 1_000.0
LINKS = Links(b"k" * 32)
TOKEN = LINKS.pay.make(7, 2_000.0)
RECIPIENT = "ab" * 32
STATEMENTS: dict[str, list[dict[str, Any]]] = {
    f"card:stripe:{RECIPIENT}": [
        {"seq": 4, "at": 9.7, "key": "9:held", "notification": "9", "currency": "EUR", "amount": -9},
    ],
    f"debt:wallet:{RECIPIENT}": [
        {"seq": 3, "at": 9.5, "key": "8:captured", "notification": "8", "currency": "EUR", "amount": -5},
    ],
    f"wallet:{RECIPIENT}": [
        {"seq": 2, "at": 9.0, "key": "7:captured", "notification": "7", "currency": "EUR", "amount": -5},
        {"seq": 1, "at": 8.0, "key": "page:7:500:x", "notification": None, "currency": "EUR", "amount": 500},
    ],
}
DUE = {"amount": 5, "currency": "EUR", "until": 2_000.0}


@dataclass
class Ledger:
    """One notification, one wallet, and what was commanded."""

    row: dict[str, Any]
    balance: int = 0
    commands: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        rows = {
            "notification": [self.row] if parameters.get("id") == "7" else [],
            "principal": [{"name": "Hospital"}],
            "intent": [{**each, "state": "open"} for key, each in self.intents.items() if key == parameters.get("key")],
            "balance": [{"balance": self.balance}] if parameters.get("account") == f"wallet:{RECIPIENT}" else [],
            "statement": STATEMENTS.get(str(parameters.get("account")), [])
            if parameters.get("before") == LATEST
            else [],
        }
        return rows[name]

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        self.commands.append((name, parameters))
        return {"state": "open" if parameters.get("key") in self.intents else "opened", "outcome": None}


@dataclass
class Provider:
    """Answers the same to everything."""

    answer: Answer
    orders: list[Order] = field(default_factory=list)
    name: str = "sandbox"

    async def perform(self, order: Order) -> Answer:
        self.orders.append(order)
        return self.answer

    async def find(self, order: Order) -> Answer | Absent:
        return self.answer if order.key else Absent()


def row(state: str = "parked", stage: str | None = "payment", **facts: Any) -> dict[str, Any]:
    return {
        "id": "7",
        "principal": "p",
        "recipient": RECIPIENT,
        "state": state,
        "stage": stage,
        "facts": {"due": DUE, **facts},
    }


def desk(ledger: Ledger, answer: Answer | None = None, now: float = NOW) -> PayDesk:
    return PayDesk(ledger, Provider(answer or providers.Done("1")), LINKS, Offer((500,), "EUR"), lambda: now)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (row(), DueState.WAITING),
        (row("leased", "notice"), DueState.WAITING),
        (row("queued", "delivery", hold={}), DueState.PAID),
        (row("delivered", None, hold={}), DueState.PAID),
        (row("leased", "notice", lapsed={"amount": 5}), DueState.OVER),
        (row("dead", None), DueState.OVER),
        (row("queued", "settlement", hold={}, undeliverable="550"), DueState.OVER),
    ],
)
async def test_the_page_says_how_far_the_payment_is(found: dict[str, Any], state: DueState) -> None:
    """Nobody is asked for money that is held already, nor for mail that is gone."""
    due = await desk(Ledger(found, balance=3)).due(TOKEN)

    assert (due.sender, due.amount, due.balance, due.state, due.top_ups) == ("Hospital", 5, 3, state, (500,))


@pytest.mark.parametrize(
    ("balance", "found", "paid", "woken"),
    [(4, row(), False, []), (5, row(), True, ["retry"]), (5, row("delivered", None), True, [])],
)
async def test_the_wallet_pays_by_waking_the_notification(
    balance: int, found: dict[str, Any], paid: bool, woken: list[str]
) -> None:
    """The hold is the payment stage's, in one transaction; the page only says: look again."""
    ledger = Ledger(found, balance)

    assert await desk(ledger).pay_from_wallet(TOKEN) is paid
    assert [name for name, _ in ledger.commands] == woken


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (providers.Done("1"), Credited()),
        (providers.NeedsPayer("https://pay.example/s", "cs"), Redirect("https://pay.example/s")),
        (providers.Declined("card_declined"), Declined("card_declined")),
        (providers.TryLater("busy"), Pending()),
        (providers.Unknown("no answer"), Pending()),
    ],
)
async def test_each_answer_of_a_provider_is_one_of_the_page(answer: Answer, told: TopUp) -> None:
    """Five ways in which a provider's call may end; none of them is an error page."""
    assert await desk(Ledger(row()), answer).top_up(TOKEN, 500, "x") == told


async def test_a_double_click_is_one_order() -> None:
    """The form's own value is in the key, and the key is what the provider knows."""
    provider = Provider(providers.NeedsPayer("https://pay.example/s", "cs"))
    page = PayDesk(Ledger(row()), provider, LINKS, Offer((500,), "EUR"), lambda: NOW)
    for attempt in ("x", "x", "y"):
        await page.top_up(TOKEN, 500, attempt)

    assert [order.key for order in provider.orders] == ["page:7:500:x", "page:7:500:x", "page:7:500:y"]
    assert {order.payer for order in provider.orders} == {RECIPIENT[:16]}


async def test_the_statement_says_what_for() -> None:
    """Which notification, in words that a payer understands; what is owed and what a card paid too."""
    wallet = f"wallet:{RECIPIENT}"
    told = await desk(Ledger(row(), balance=3)).statement(LINKS.statement.make(wallet, NOW))

    assert (told.balance, told.currency) == (3, "EUR")
    assert [(line.what, line.amount, line.notification) for line in told.lines] == [
        ("set aside for delivery", -9, "0000000000009"),
        ("owed for delivery", -5, "0000000000008"),
        ("paid for delivery", -5, "0000000000007"),
        ("top-up", 500, ""),
    ]


@pytest.mark.parametrize("facts", [None, {"hold": {}}])
async def test_a_token_for_what_asks_for_nothing_is_none(facts: dict[str, Any] | None) -> None:
    """A notification that is gone, or that nobody was asked to pay for."""
    found = {**row(), "facts": facts or {}}
    other = LINKS.pay.make(8 if facts is None else 7, 2_000.0)

    with pytest.raises(BadToken):
        await desk(Ledger(found)).due(other)


async def test_who_comes_back_from_the_provider_finds_the_page_again_and_the_money_there() -> None:
    """The provider's page knows no token of ours, and its webhook may be slower than the payer's browser."""
    key = "page:7:500:x"
    payload = {"wallet": f"wallet:{RECIPIENT}", "amount": 500, "currency": "EUR"}
    ledger = Ledger(row(), intents={key: {"key": key, "verb": "charge", "notification": None, "payload": payload}})

    token = await desk(ledger, providers.Done("pi_1")).come_back(key)

    assert LINKS.pay.read(token, 2_000.0) == 7
    assert [name for name, _ in ledger.commands] == ["open_intent", "close_intent"]


@pytest.mark.parametrize("key", ["page:7:500:guessed", "cli:7", "", "page:"])
async def test_a_key_that_nobody_was_given_brings_nobody_back(key: str) -> None:
    """The page shows a balance: a notification's id alone must not open it."""
    intent: dict[str, Any] = {"key": "cli:7", "verb": "charge", "notification": None, "payload": {}}

    with pytest.raises(BadToken):
        await desk(Ledger(row(), intents={"cli:7": intent})).come_back(key)


@pytest.mark.parametrize(
    "found", [row("dead", None), row("delivered", None, hold={}), row("leased", "notice", lapsed={"amount": 5})]
)
async def test_nobody_is_charged_on_a_page_that_is_over(found: dict[str, Any]) -> None:
    """A page that lay open in a browser for a week still has its buttons."""
    provider = Provider(providers.Done("1"))
    page = PayDesk(Ledger(found), provider, LINKS, Offer((500,), "EUR"), lambda: NOW)

    assert await page.top_up(TOKEN, 500, "x") == Declined("over")
    assert provider.orders == []


@pytest.mark.parametrize(
    "found",
    [
        row("leased", "delivery", hold={"account": "debt:wallet:ab"}),
        row("deferred", "digest", triage={"outcome": "digested"}),
    ],
)
async def test_what_went_on_unpaid_is_not_called_paid(found: dict[str, Any]) -> None:
    """Owed, or put into the digest: the time to pay for it is over, and nobody is thanked."""
    assert (await desk(Ledger(found)).due(TOKEN)).state is DueState.OVER


async def test_a_second_click_that_comes_too_late_is_no_error() -> None:
    """The first one woke it, and a worker has it already."""

    class Taken(Ledger):
        async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
            raise Refused("not_found", f"{name}: no such notification waits, {len(parameters)}")

    assert await desk(Taken(row(), balance=5)).pay_from_wallet(TOKEN) is True
