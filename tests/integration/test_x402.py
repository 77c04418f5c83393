"""Machines that pay: the real gateway over HTTP, the real broker, x402's own client, a facilitator without a chain."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from eth_account import Account
from eth_account.signers.local import LocalAccount
from nacl.public import PrivateKey
from starlette.applications import Starlette
from starlette.routing import Mount
from x402 import x402Client
from x402.http import decode_payment_required_header, decode_payment_response_header
from x402.http.clients import x402HttpxClient
from x402.mechanisms.evm.exact import ExactEvmScheme

from serving.authentication import hash_key, new_key
from serving.gateway.api import Api, Keys
from serving.gateway.app import application
from serving.gateway.machine_payments import Machine, MachinePayments
from serving.gateway.machine_terms import Coin
from serving.payment.policy import Defaults
from serving.payment.provider import Done
from serving.payment.x402_client import SPENT, Facilitator, resume
from serving.pipeline import Prediction
from serving.queue.client import Client
from serving.sealing import LookupKey, UnsealingKey
from tests.integration import facilitator as chainless
from tests.integration.facilitator import Fault

PRICE, IN_ATOMIC = 5, 50_000
TIMEOUT = 0.5
NOTICE = {"from": "ops@example.org", "to": "ada@example.net", "subject": "Disk full", "text": "db1 is full"}
OURS, THEIRS = Account.create().address, Account.create().address
COIN = Coin(chainless.NETWORK, chainless.ASSET, chainless.NAME, chainless.TOKEN_VERSION, 6, OURS)


@dataclass
class Clock:
    """The time, and how far a test has gone ahead of it."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Gateway:
    """The public API over HTTP, and everything behind it."""

    url: str
    client: Client
    facilitator: chainless.Facilitator
    settling: Facilitator
    clock: Clock
    account: LocalAccount = field(default_factory=Account.create)
    keys: dict[str, str] = field(default_factory=dict)

    async def enroll(self, principal: str, **policy: Any) -> None:
        key = self.keys[principal] = new_key().key
        await self.client.execute(
            "enroll_principal", id=principal, name=principal, key_hash=hash_key(key), domains=[], policy=policy
        )

    def machine(self, principal: str = "machine") -> httpx.AsyncClient:
        """x402's own client, as a stranger would set it up."""
        payer = x402Client()
        payer.register("eip155:*", ExactEvmScheme(signer=self.account))
        return x402HttpxClient(payer, base_url=self.url, headers=self._authorization(principal), timeout=10.0)

    async def notify(self, proof: str = "", key: str = "", principal: str = "machine", **changes: Any) -> Any:
        """One request, without anybody's automatic answer to a 402."""
        headers = {"PAYMENT-SIGNATURE": proof, "Idempotency-Key": key}
        stated = self._authorization(principal) | {name: value for name, value in headers.items() if value}
        async with httpx.AsyncClient(base_url=self.url, timeout=10.0) as http:
            return await http.post("/notify", json=NOTICE | changes, headers=stated)

    async def proof(self, **changes: Any) -> str:
        """A payment for what a notification costs, or for terms that the test changes."""
        demand = decode_payment_required_header((await self.notify()).headers["PAYMENT-REQUIRED"])
        demand.accepts[0] = demand.accepts[0].model_copy(update=changes)
        payer = x402Client().register("eip155:*", ExactEvmScheme(signer=self.account)).set_spend_controls(False)
        payment = await payer.create_payment_payload(demand)
        return base64.b64encode(payment.model_dump_json(by_alias=True, exclude_none=True).encode()).decode()

    async def balance(self, principal: str = "machine") -> int:
        rows = await self.client.query("balance", account=f"wallet:sender:{principal}")
        return int(rows[0]["balance"]) if rows else 0

    async def spend(self, principal: str = "machine") -> None:
        """What the payment stage does with it: all of the wallet is held."""
        amount = await self.balance(principal)
        postings = [
            {"account": f"wallet:sender:{principal}", "amount": -amount},
            {"account": "hold:1", "amount": amount},
        ]
        reserve = {"key": f"spent:{self.clock()}", "postings": postings, "currency": "USD"}
        await self.client.execute(
            "open_intent", key=reserve["key"], verb="hold", notification=None, payload={}, reserve=reserve
        )

    async def is_untouched(self) -> bool:
        """Whether nobody paid, nobody was credited, and nothing is left to be asked about."""
        open_ = [each["key"] for each in await self.client.query("intents", state="open")]
        return not (self.facilitator.settlements() or await self.balance() or open_)

    def later(self) -> None:
        """Go to when the first attempt to settle is certainly over."""
        self.clock.ahead += 2 * TIMEOUT + 0.1

    def _authorization(self, principal: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[principal]}"}


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[chainless.Facilitator]:
    with chainless.running(tmp_path / "settlements.jsonl") as facilitator:
        yield facilitator


@pytest.fixture
async def gateway(client: Client, chain: chainless.Facilitator) -> AsyncIterator[Gateway]:
    clock, settling = Clock(), Facilitator(chain.url, timeout=TIMEOUT)
    payments = MachinePayments(client, Defaults(PRICE, "USD", 60.0), Machine(COIN, settling), clock=clock)
    keys = Keys(UnsealingKey(bytes(PrivateKey.generate())).sealing_key, LookupKey(bytes(32)))
    app = application()
    app.state.api = Api(client, keys, _judge, limit=20_000, domain="clarion.invalid", payments=payments)
    async with _served(Starlette(routes=[Mount("/v1", app)])) as url:
        gateway = Gateway(f"{url}/v1", client, chain, settling, clock)
        await gateway.enroll("machine", pays="sender")
        yield gateway
    await settling.close()


@asynccontextmanager
async def _served(app: Starlette) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await serving
    listener.close()


async def _judge(*_: Any) -> list[Prediction]:
    return []


async def test_a_machine_with_an_empty_wallet_pays_and_is_accepted(gateway: Gateway) -> None:
    """x402's promise: a stranger's client pays by itself, and no human is asked."""
    recipients = ["ada@example.net", "bob@example.net"]
    async with gateway.machine() as http:
        response = await http.post("/notify", json=NOTICE | {"to": recipients})
    receipt = decode_payment_response_header(response.headers["PAYMENT-RESPONSE"])
    (settlement,) = gateway.facilitator.settlements()

    assert response.status_code == 202
    assert len(response.json()["notifications"]) == 2
    assert await gateway.balance() == 2 * PRICE
    assert (settlement["value"], settlement["to"]) == (str(2 * IN_ATOMIC), OURS)
    assert (receipt.success, receipt.payer, receipt.amount) == (True, gateway.account.address, str(2 * IN_ATOMIC))
    assert gateway.facilitator.asked == ["verify", "settle"]


async def test_the_terms_are_for_programs_and_for_people(gateway: Gateway) -> None:
    """The body and the header say the same; who cannot pay by machine reads what else to do."""
    response = await gateway.notify()
    body = response.json()
    demand = decode_payment_required_header(response.headers["PAYMENT-REQUIRED"])

    assert response.status_code == 402
    assert body["terms"] == {"price": PRICE, "recipients": 1, "currency": "USD", "balance": 0, "missing": PRICE}
    assert body["accepts"] == [each.model_dump(by_alias=True) for each in demand.accepts]
    assert (body["x402Version"], body["error"]) == (2, "payment_required")
    assert (demand.accepts[0].amount, demand.accepts[0].pay_to) == (str(IN_ATOMIC), OURS)
    assert "clarion wallet top-up machine 0.05 --sender" in body["hint"]


async def test_recipients_in_the_query_are_told_to_no_facilitator(gateway: Gateway) -> None:
    """The terms go to a third party with the payment; addresses must not."""
    async with httpx.AsyncClient(base_url=gateway.url) as http:
        headers = {"Authorization": f"Bearer {gateway.keys['machine']}", "Content-Type": "message/rfc822"}
        response = await http.post("/notify?to=ada@example.net", content=b"Subject: x\r\n\r\nx", headers=headers)

    assert response.status_code == 402
    assert "ada" not in base64.b64decode(response.headers["PAYMENT-REQUIRED"]).decode() + response.text


async def test_a_key_that_was_accepted_never_pays_again(gateway: Gateway) -> None:
    """A lost 202 is repeated; by then the message's own hold has emptied the wallet."""
    async with gateway.machine() as http:
        first = await http.post("/notify", json=NOTICE, headers={"Idempotency-Key": "once"})
        await gateway.spend()
        again = await http.post("/notify", json=NOTICE, headers={"Idempotency-Key": "once"})

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert len(gateway.facilitator.settlements()) == 1
    assert await gateway.balance() == 0


async def test_a_key_that_the_wallet_covered_is_not_asked_later(gateway: Gateway) -> None:
    """The same for a sender who had paid in before."""
    await gateway.notify(await gateway.proof())
    first = await gateway.notify(key="covered")
    await gateway.spend()
    again = await gateway.notify(key="covered")
    other = await gateway.notify(key="other")

    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 402)
    assert first.json() == again.json()


@pytest.mark.parametrize("fault", Fault)
async def test_a_lost_settlement_is_asked_about_and_credited_once(gateway: Gateway, fault: Fault) -> None:
    """Whether it was carried out is unknown; the same proof later finds out, and pays once whatever the truth was."""
    proof = await gateway.proof()
    gateway.facilitator.faults = [fault]
    lost = await gateway.notify(proof)
    at_once = await gateway.notify(proof)
    gateway.later()
    found = await gateway.notify(proof)

    assert (lost.status_code, at_once.status_code, found.status_code) == (503, 503, 202)
    assert (lost.headers["Retry-After"], lost.json()["error"]) == ("5", "payment_unknown")
    assert len(gateway.facilitator.settlements()) == 1
    assert await gateway.balance() == PRICE


async def test_after_a_lost_settlement_the_same_key_signs_nothing_new(gateway: Gateway) -> None:
    """x402's client knows nothing of its last payment: it asks again, and would sign again if it were told to."""
    gateway.facilitator.faults = [Fault.SILENCE]
    async with gateway.machine() as http:
        lost = await http.post("/notify", json=NOTICE, headers={"Idempotency-Key": "once"})
        gateway.later()
        found = await http.post("/notify", json=NOTICE, headers={"Idempotency-Key": "once"})

    assert (lost.status_code, found.status_code) == (503, 202)
    assert len(gateway.facilitator.settlements()) == 1
    assert await gateway.balance() == PRICE


async def test_a_settlement_that_nobody_comes_back_for_is_credited(gateway: Gateway) -> None:
    """The money is with us: its owner must find it in the wallet."""
    gateway.facilitator.faults = [Fault.SILENCE]
    await gateway.notify(await gateway.proof())
    gateway.later()
    answers = await resume(gateway.client, gateway.settling, gateway.clock())

    assert answers == [Done("")]
    assert await gateway.balance() == PRICE


def forged(payment: dict[str, Any]) -> None:
    payment["payload"]["authorization"]["from"] = THEIRS


def richer(payment: dict[str, Any]) -> None:
    payment["payload"]["authorization"]["value"] = str(100 * IN_ATOMIC)


def expired(payment: dict[str, Any]) -> None:
    payment["payload"]["authorization"]["validBefore"] = str(int(time.time()) - 1)


def early(payment: dict[str, Any]) -> None:
    payment["payload"]["authorization"]["validAfter"] = str(int(time.time()) + 600)


def to_others(payment: dict[str, Any]) -> None:
    payment["payload"]["authorization"]["to"] = THEIRS


def truncated(payment: dict[str, Any]) -> None:
    payment["payload"]["authorization"]["nonce"] = "0x00"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (forged, "invalid_exact_evm_payload_signature"),
        (richer, "invalid_exact_evm_payload_signature"),
        (expired, "invalid_exact_evm_payload_authorization_valid_before"),
        (early, "invalid_exact_evm_payload_authorization_valid_after"),
        (to_others, "invalid_exact_evm_payload_recipient_mismatch"),
        (truncated, "invalid_payload"),
    ],
)
async def test_an_altered_payment_moves_nothing(
    gateway: Gateway, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    """Whatever was signed is not this."""
    payment = json.loads(base64.b64decode(await gateway.proof()))
    change(payment)
    response = await gateway.notify(base64.b64encode(json.dumps(payment).encode()).decode())

    assert (response.status_code, response.json()["error"]) == (402, reason)
    assert decode_payment_required_header(response.headers["PAYMENT-REQUIRED"]).error == reason
    assert await gateway.is_untouched()


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"amount": str(IN_ATOMIC - 10_000)}, "invalid_exact_evm_payload_authorization_value_mismatch"),
        ({"amount": str(IN_ATOMIC + 1)}, "invalid_exact_evm_payload_authorization_value"),
        ({"pay_to": THEIRS}, "invalid_exact_evm_payload_recipient_mismatch"),
        ({"network": "eip155:1"}, "network_mismatch"),
        ({"asset": THEIRS}, "invalid_payment_requirements"),
        ({"max_timeout_seconds": 5}, "invalid_exact_evm_payload_authorization_valid_before"),
        ({"extra": {"name": "Fool's gold", "version": "2"}}, "invalid_exact_evm_payload_signature"),
    ],
)
async def test_a_payment_for_other_terms_moves_nothing(gateway: Gateway, terms: dict[str, Any], reason: str) -> None:
    """Well signed, but too little, in part of a cent, to somebody else, in another coin, or nearly over."""
    response = await gateway.notify(await gateway.proof(**terms))

    assert (response.status_code, response.json()["error"]) == (402, reason)
    assert await gateway.is_untouched()


async def test_more_than_the_price_is_credited_whole(gateway: Gateway) -> None:
    """A machine that sends much may pay for many at once."""
    response = await gateway.notify(await gateway.proof(amount=str(10 * IN_ATOMIC)))

    assert response.status_code == 202
    assert await gateway.balance() == 10 * PRICE


async def test_a_payment_buys_once(gateway: Gateway) -> None:
    """Shown again when its money is spent, by the same sender or by another, it moves nothing."""
    await gateway.enroll("thief", pays="sender")
    proof = await gateway.proof()
    await gateway.notify(proof)
    stolen = await gateway.notify(proof, principal="thief")
    await gateway.spend()
    again = await gateway.notify(proof)

    assert (stolen.status_code, again.status_code) == (402, 402)
    assert {stolen.json()["error"], again.json()["error"]} == {"payment_already_used"}
    assert (await gateway.balance(), await gateway.balance("thief")) == (0, 0)
    assert len(gateway.facilitator.settlements()) == 1


async def test_a_stolen_payment_under_way_stays_its_owners(gateway: Gateway) -> None:
    """Between the lost answer and the next question a thief with the header could ask first."""
    await gateway.enroll("thief", pays="sender")
    proof = await gateway.proof()
    gateway.facilitator.faults = [Fault.SILENCE]
    await gateway.notify(proof)
    gateway.later()
    stolen = await gateway.notify(proof, principal="thief")
    found = await gateway.notify(proof)

    assert (stolen.status_code, found.status_code) == (402, 202)
    assert (await gateway.balance(), await gateway.balance("thief")) == (PRICE, 0)


async def test_a_nonce_that_was_spent_elsewhere_is_worth_nothing(gateway: Gateway) -> None:
    """Only an attempt of our own makes "spent" mean "spent for us"."""
    proof = await gateway.proof()
    payment = json.loads(base64.b64decode(proof))
    payment["payload"]["authorization"]["to"] = THEIRS
    gateway.facilitator._spend(payment["payload"]["authorization"])
    response = await gateway.notify(proof)

    assert (response.status_code, response.json()["error"]) == (402, SPENT)
    assert await gateway.balance() == 0
    assert await gateway.client.query("intents", state="open") == []


async def test_one_payment_shown_by_many_requests_at_once_is_credited_once(gateway: Gateway) -> None:
    """A client that times out and repeats meets its own first request; nobody may take that one's "spent" for a loss."""
    proof = await gateway.proof()
    await asyncio.gather(*(gateway.notify(proof, key=f"k{number}") for number in range(8)))
    gateway.later()
    response = await gateway.notify(proof)

    assert response.status_code == 202
    assert await gateway.balance() == PRICE
    assert len(gateway.facilitator.settlements()) == 1
    assert await gateway.client.query("intents", state="open") == []


async def test_payments_shown_at_once_for_one_key_are_one_payment(gateway: Gateway) -> None:
    """A message has one price, however many impatient threads send it."""
    proofs = [await gateway.proof() for _ in range(4)]
    await asyncio.gather(*(gateway.notify(proof, key="once") for proof in proofs))
    response = await gateway.notify(key="once")

    assert response.status_code == 202
    assert await gateway.balance() == PRICE
    assert len(gateway.facilitator.settlements()) == 1


async def test_a_refused_payment_leaves_its_key_free_for_a_better_one(gateway: Gateway) -> None:
    """A key is bound to one payment only as long as that one may succeed."""
    spent, good = await gateway.proof(), await gateway.proof()
    refused = await _refused_at_the_last_moment(gateway, spent)
    response = await gateway.notify(good, key="once")

    assert (refused.status_code, refused.json()["error"]) == (402, SPENT)
    assert response.status_code == 202
    assert await gateway.balance() == PRICE


async def _refused_at_the_last_moment(gateway: Gateway, proof: str) -> Any:
    """Somebody spends the nonce between /verify and /settle."""
    authorization = json.loads(base64.b64decode(proof))["payload"]["authorization"]
    verify = gateway.settling.verify

    async def too_late(payment: Any) -> Any:
        verdict = await verify(payment)
        gateway.facilitator._spend({**authorization, "to": THEIRS})
        return verdict

    gateway.settling.verify = too_late  # type: ignore[method-assign]
    response = await gateway.notify(proof, key="once")
    gateway.settling.verify = verify  # type: ignore[method-assign]
    return response


async def test_without_a_facilitator_nothing_is_paid_and_the_same_proof_works_later(gateway: Gateway) -> None:
    """A server that is away is no reason to lose a message, or to pay for it twice."""
    proof, reachable = await gateway.proof(), gateway.settling._http
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as unreachable:
        gateway.settling._http = unreachable
        away = await gateway.notify(proof)
    gateway.settling._http = reachable
    assert await gateway.is_untouched()
    back = await gateway.notify(proof)

    assert (away.status_code, away.json()["error"], back.status_code) == (503, "payment_not_ready", 202)
    assert await gateway.balance() == PRICE


@pytest.mark.parametrize(
    "policy", [{}, {"pays": "nobody"}, {"pays": "sender", "life_safety": True}, {"pays": "sender", "price": 0}]
)
async def test_who_does_not_pay_is_not_asked(gateway: Gateway, policy: dict[str, Any]) -> None:
    """The recipient pays, or nobody does: no wallet of the sender's matters."""
    await gateway.enroll("guest", **policy)
    response = await gateway.notify(principal="guest")

    assert response.status_code == 202
    assert gateway.facilitator.asked == []


async def test_who_has_paid_in_is_not_asked(gateway: Gateway) -> None:
    """A full wallet is for not having to pay each time."""
    await gateway.notify(await gateway.proof(amount=str(2 * IN_ATOMIC)))
    gateway.facilitator.asked.clear()
    response = await gateway.notify(await _unused(gateway), to=["ada@example.net", "bob@example.net"])

    assert response.status_code == 202
    assert "PAYMENT-RESPONSE" not in response.headers
    assert gateway.facilitator.asked == []


def _unused(gateway: Gateway) -> Awaitable[str]:
    """A payment that is not needed and must not be taken."""

    async def make() -> str:
        payer = x402Client().register("eip155:*", ExactEvmScheme(signer=gateway.account))
        refused = await gateway.notify(to=[f"r{number}@example.net" for number in range(3)])
        demand = decode_payment_required_header(refused.headers["PAYMENT-REQUIRED"])
        payment = await payer.create_payment_payload(demand)
        return base64.b64encode(payment.model_dump_json(by_alias=True, exclude_none=True).encode()).decode()

    return make()
