"""Machines that pay: what is asked of whom, and when a spent nonce means that we have the money."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.errors import ConfigurationError
from serving.gateway.machine_payments import Machine, MachinePayments, connect
from serving.gateway.problems import Problem
from serving.payment.policy import Defaults
from serving.payment.provider import Answer, Declined, Done, TryLater, Unknown
from serving.payment.x402_client import SPENT, Facilitator, Payment, finish, resume, settle
from serving.settings import Settings
from tests.unit.payment.exchanges import Killed, Ledger, Power
from tests.unit.test_machine_terms import COIN, NOW, OURS, PAYER, PAYMENT, TOKEN

WALLET, TIMEOUT = "wallet:sender:p", 20.0


@dataclass
class Books(Ledger):
    """The ledger, with the senders' policies."""

    policies: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        match name:
            case "sender_policy":
                return [{"policy": self.policies[parameters["principal"]]}]
            case "balance":
                return [{"balance": self.accounts[parameters["account"]]}]
            case "intent":
                key = parameters["key"]
                return [{"key": key, **self.intents[key]}] if key in self.intents else []
            case _:
                return await super().query(name, **parameters)


class Chainless(Facilitator):
    """Spends each nonce once; `answers` says what the next calls answer instead, after doing the same."""

    def __init__(self, power: Power) -> None:
        super().__init__("http://facilitator.invalid", timeout=TIMEOUT)
        self.power = power
        self.answers: list[Answer] = []
        self.spent: list[str] = []

    async def settle(self, payment: Payment) -> Answer:
        self.power.tick()
        truth: Answer = Declined(SPENT) if payment.key in self.spent else Done("0xtransaction")
        if isinstance(truth, Done):
            self.spent.append(payment.key)
        self.power.tick()
        return self.answers.pop(0) if self.answers else truth


@pytest.fixture
def power() -> Power:
    return Power()


@pytest.fixture
def books(power: Power) -> Books:
    return Books(power, policies={"p": {"pays": "sender"}, "guest": {}})


@pytest.fixture
async def facilitator(power: Power) -> AsyncIterator[Chainless]:
    facilitator = Chainless(power)
    yield facilitator
    await facilitator.close()


async def pay(books: Books, facilitator: Facilitator) -> Answer:
    return await settle(books, facilitator, PAYMENT, wallet=WALLET, amount=5, currency="USD", now=NOW)


async def ask_again(books: Books, facilitator: Facilitator, after: float = 2 * TIMEOUT) -> Answer:
    (intent,) = await books.query("intents", state="open")
    return await finish(books, facilitator, intent, NOW + after)


def request(**headers: str) -> Request:
    raw = [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "server": ("clarion.example", 80),
            "path": "/v1/notify",
            "query_string": b"to=ada@example.net",
            "headers": raw,
        }
    )


async def test_a_payment_credits_the_wallet_once_however_often_it_is_sent(books: Books, facilitator: Chainless) -> None:
    """The intent's key is the nonce: it is spent once, and so it is credited once."""
    answers = [await pay(books, facilitator), await pay(books, facilitator)]

    assert answers == [Done("0xtransaction")] * 2
    assert books.accounts == {WALLET: 5, "clearing:x402": -5}


@pytest.mark.parametrize("moment", range(1, 7))
async def test_a_payment_killed_at_any_moment_is_finished_and_credited_once(
    books: Books, facilitator: Chainless, power: Power, moment: int
) -> None:
    """The six moments around the two commits and the call; whoever comes back, or nobody, the wallet has its money."""
    power.left = moment
    with pytest.raises(Killed):
        await pay(books, facilitator)

    await pay(books, facilitator)
    await resume(books, facilitator, NOW + 2 * TIMEOUT)

    assert facilitator.spent == [PAYMENT.key]
    assert books.accounts == {WALLET: 5, "clearing:x402": -5}


async def test_a_first_attempt_that_finds_the_nonce_spent_is_refused_for_good(
    books: Books, facilitator: Chainless
) -> None:
    """Nothing of ours was sent before: whoever spent it, the money did not come to us."""
    facilitator.spent = [PAYMENT.key]
    answers = [await pay(books, facilitator), await pay(books, facilitator)]

    assert answers == [Declined(SPENT)] * 2
    assert books.accounts == {}


async def test_after_a_lost_answer_a_spent_nonce_is_our_money(books: Books, facilitator: Chainless) -> None:
    """The payer has paid; to ask for another payment would be to take it twice."""
    facilitator.answers = [Unknown("no answer")]
    await pay(books, facilitator)
    answer = await ask_again(books, facilitator)

    assert answer == Done("")
    assert books.accounts[WALLET] == 5


async def test_nobody_asks_while_the_first_attempt_may_be_under_way(books: Books, facilitator: Chainless) -> None:
    """Else the second could win, and the first would take its "spent" for a loss and refuse a payment that was made."""
    facilitator.answers = [Unknown("no answer")]
    await pay(books, facilitator)
    beside = await pay(books, facilitator)
    soon = await ask_again(books, facilitator, after=2 * TIMEOUT - 1)

    assert isinstance(beside, Unknown)
    assert isinstance(soon, Unknown)
    assert facilitator.spent == [PAYMENT.key]
    assert books.accounts == {}


@pytest.mark.parametrize("answer", [Declined("invalid_exact_evm_payload_authorization_valid_before"), TryLater("away")])
async def test_what_says_nothing_of_the_first_attempt_leaves_the_question_open(
    books: Books, facilitator: Chainless, answer: Answer
) -> None:
    """A facilitator calls an authorization expired whether it carried it out before or not."""
    facilitator.answers = [Unknown("no answer"), answer]
    await pay(books, facilitator)
    second = await ask_again(books, facilitator)

    assert not isinstance(second, Done | Declined)
    assert len(await books.query("intents", state="open")) == 1


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, {"success": True, "transaction": "0x1", "network": "eip155:8453", "payer": PAYER.lower()}, Done("0x1")),
        (200, {"success": False, "errorReason": SPENT, "transaction": ""}, Declined(SPENT)),
        (402, {"success": False, "errorReason": "insufficient_funds"}, Declined("insufficient_funds")),
        (200, {"success": True, "transaction": "", "network": "eip155:8453"}, Unknown),
        (200, {"success": True, "transaction": "0x1", "network": "eip155:1"}, Unknown),
        (200, {"success": True, "transaction": "0x1", "network": "eip155:8453", "payer": OURS}, Unknown),
        (200, {"success": True, "transaction": "0x1", "network": "eip155:8453", "amount": "1"}, Unknown),
        (200, {"success": False, "errorReason": "settlement_pending", "transaction": "0x1"}, Unknown),
        (200, {"success": False, "errorReason": SPENT, "transaction": "0x1"}, Unknown),
        (200, {"success": False, "errorReason": "transaction_failed", "transaction": ""}, Unknown),
        (500, {"success": False, "errorReason": SPENT, "transaction": ""}, Unknown),
        (200, ["success"], Unknown),
        (200, "<html>", Unknown),
    ],
)
async def test_a_settlement_is_believed_only_word_for_word(status: int, body: object, answer: object) -> None:
    """What might have moved money is unknown, and unknown is asked about; it is neither paid again nor refused."""
    facilitator = answering(status, body)
    found = await facilitator.settle(PAYMENT)
    await facilitator.close()

    assert found == answer if not isinstance(answer, type) else isinstance(found, answer)


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, {"isValid": False, "invalidReason": SPENT}, Declined(SPENT)),
        (400, {"isValid": False, "invalidReason": "<script>"}, Declined("invalid_payload")),
        (200, {"isValid": "true"}, TryLater),
        (503, {"isValid": True}, TryLater),
        (200, "<html>", TryLater),
    ],
)
async def test_a_payment_is_good_only_when_the_facilitator_says_so(status: int, body: object, answer: object) -> None:
    """Nothing has moved yet: in doubt the sender comes again."""
    facilitator = answering(status, body)
    found = await facilitator.verify(PAYMENT)
    await facilitator.close()

    assert found == answer if not isinstance(answer, type) else isinstance(found, answer)


def answering(status: int, body: object) -> Facilitator:
    """A facilitator that says the same to everything."""

    async def answer(_: Request) -> Response:
        return Response(body if isinstance(body, str) else json.dumps(body), status)

    app = Starlette(routes=[Route("/{path}", answer, methods=["POST"])])
    facilitator = Facilitator("http://facilitator.invalid")
    facilitator._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facilitator.invalid")
    return facilitator


async def test_without_x402_a_sender_reads_the_terms_and_how_to_pay_in(books: Books) -> None:
    """No machine can pay here, but a program can still see how much is missing."""
    books.accounts[WALLET] = 3
    gate = MachinePayments(books, Defaults(5, "EUR", 60.0))
    with pytest.raises(Problem) as raised:
        await gate.admit(request(), "p", 2, None)
    body = json.loads(bytes(raised.value.answer.response().body))

    assert (raised.value.answer.status, body["error"]) == (402, "payment_required")
    assert body["terms"] == {"price": 5, "recipients": 2, "currency": "EUR", "balance": 3, "missing": 7}
    assert "clarion wallet top-up p 0.07 --sender" in body["hint"]
    assert "accepts" not in body


async def test_a_sum_beyond_the_ledger_is_not_offered_to_machines(books: Books, facilitator: Chainless) -> None:
    """A machine would pay what we cannot book."""
    gate = MachinePayments(books, Defaults(2**30, "USD", 60.0), Machine(COIN, facilitator))
    with pytest.raises(Problem) as raised:
        await gate.admit(request(), "p", 2, None)

    assert "PAYMENT-REQUIRED" not in raised.value.answer.headers


async def test_a_key_is_remembered_in_closed_intents_only(books: Books) -> None:
    """The oldest thousand open ones are asked about every half a minute: nothing else may fill that list."""
    books.accounts[WALLET] = 5
    gate = MachinePayments(books, Defaults(5, "EUR", 60.0))
    await gate.admit(request(), "p", 1, "once")
    await gate.admit(request(), "guest", 1, "once")
    books.accounts[WALLET] = 0
    again = await gate.admit(request(), "p", 1, "once")

    assert again == {}
    assert [intent["state"] for intent in books.intents.values()] == ["done"]


@pytest.mark.parametrize("name", ["network", "asset", "asset_name", "asset_version", "pay_to"])
def test_half_a_set_up_of_x402_stops_the_start(books: Books, name: str) -> None:
    """Money would go nowhere, or nowhere that anybody knows."""
    whole = {"network": "eip155:8453", "asset": TOKEN, "asset_name": "USDC", "asset_version": "2", "pay_to": OURS}
    stated = {f"x402_{each}": "" if each == name else value for each, value in whole.items()}
    with pytest.raises(ConfigurationError, match=f"CLARION_X402_{name.upper()}"):
        connect(books, Settings.read(x402_facilitator="http://127.0.0.1:9", **stated))
