"""Payments that are none: forged, too small, for somebody else, shown twice; refused with the reason, nothing moved."""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.payment.x402_client import SPENT
from serving.queue.client import Client
from tests.integration.facilitator import Fault
from tests.integration.machines import IN_ATOMIC, PRICE, THEIRS, Gateway, paying, terms_of


@pytest.fixture
async def gateway(client: Client, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with paying(client, tmp_path / "settlements.jsonl") as gateway:
        yield gateway


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
    assert terms_of(response).error == reason
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

    assert (stolen.status_code, stolen.json()["error"], found.status_code) == (402, "payment_already_used", 202)
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
