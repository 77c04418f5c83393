"""Machines that pay: the real gateway over HTTP, the real broker, x402's own client, a facilitator without a chain."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from x402.http import decode_payment_response_header

from serving.payment import topup
from serving.payment.provider import Answer, Done, Order
from serving.payment.x402_client import resume
from serving.queue.client import Client
from tests.integration.facilitator import Fault
from tests.integration.machines import IN_ATOMIC, NOTICE, OURS, PRICE, Gateway, encoded, paying, terms_of


@pytest.fixture
async def gateway(client: Client, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with paying(client, tmp_path / "settlements.jsonl") as gateway:
        yield gateway


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
    demand = terms_of(response)

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
    """The money is with us: its owner must find it in the wallet, and no other provider may be asked for it."""
    gateway.facilitator.faults = [Fault.SILENCE]
    await gateway.notify(await gateway.proof())
    gateway.later()
    others = await topup.resume(gateway.client, Stranger())
    answers = await resume(gateway.client, gateway.settling, gateway.clock())

    assert (others, answers) == ([], [Done("")])
    assert await gateway.balance() == PRICE


class Stranger:
    """The provider of everybody else's money."""

    name = "sandbox"

    async def perform(self, order: Order) -> Answer:
        raise AssertionError(f"{order.verb}: this money is not mine")

    find = perform


async def test_more_than_the_price_is_credited_whole(gateway: Gateway) -> None:
    """A machine that sends much may pay for many at once."""
    response = await gateway.notify(await gateway.proof(amount=str(10 * IN_ATOMIC)))

    assert response.status_code == 202
    assert await gateway.balance() == 10 * PRICE


async def test_one_payment_shown_by_many_requests_at_once_is_credited_once(gateway: Gateway) -> None:
    """A client that times out and repeats meets its own first request, and neither may take the other for a thief."""
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
    unneeded = terms_of(await gateway.notify(to=[f"r{number}@example.net" for number in range(3)]))
    proof = encoded(await gateway.payer().create_payment_payload(unneeded))
    gateway.facilitator.asked.clear()
    response = await gateway.notify(proof, to=["ada@example.net", "bob@example.net"])

    assert response.status_code == 202
    assert "PAYMENT-RESPONSE" not in response.headers
    assert gateway.facilitator.asked == []
