"""What machines are asked for and what they answer: amounts, and a header full of a stranger's octets."""

import base64
import json
from typing import Any

import pytest

from serving.gateway.machine_terms import Coin, Unfit, insist, read_payment
from serving.payment.x402_client import Payment

OURS, PAYER, TOKEN = "0x" + "aB" * 20, "0x" + "cD" * 20, "0x" + "12" * 20
COIN = Coin("eip155:8453", TOKEN, "USDC", "2", 6, OURS)
NOW = 1_800_000_000.0
SIGNED = {
    "from": PAYER,
    "to": OURS,
    "value": "50000",
    "validAfter": "0",
    "validBefore": str(int(NOW) + 3600),
    "nonce": "0x" + "0F" * 32,
}
PAYMENT = Payment(COIN.requirements(50_000), SIGNED, "0x01")


@pytest.mark.parametrize(("decimals", "atomic"), [(6, 50_000), (2, 5), (18, 5 * 10**16)])
def test_a_cent_is_a_cent_in_every_coin(decimals: int, atomic: int) -> None:
    """A factor of ten in the wrong place is real money."""
    coin = Coin("eip155:8453", TOKEN, "USDC", "2", decimals, OURS)

    assert (coin.atomic(5), coin.minor(atomic)) == (atomic, 5)


@pytest.mark.parametrize("atomic", [0, 1, 9_999, 50_001, 10**30])
def test_what_the_ledger_cannot_say_is_refused(atomic: int) -> None:
    """A part of a cent would be lost, and nothing may be."""
    with pytest.raises(Unfit):
        COIN.minor(atomic)


def header(**changes: Any) -> str:
    payload = {"signature": "0x01", "authorization": SIGNED}
    fields = {"x402Version": 2, "accepted": COIN.requirements(50_000), "payload": payload} | changes
    return base64.b64encode(json.dumps(fields).encode()).decode()


def test_a_payment_is_read_with_nothing_but_what_was_signed() -> None:
    """What a stranger writes beside it goes no further."""
    payment = read_payment(header(resource={"url": "https://evil.example"}, extensions={"x": 1}), COIN)

    assert payment == PAYMENT
    assert insist(payment, COIN, minor=5, now=NOW) == 5
    assert payment.key == f"x402:{PAYER.lower()}:0x{'0f' * 32}"


@pytest.mark.parametrize(
    "proof",
    [
        "",
        "!!",
        base64.b64encode(b"\xff\xfe").decode(),
        base64.b64encode(b"[" * 9_000).decode(),
        "A" * 20_000,
        header(x402Version=1),
        header(accepted=[]),
        header(payload={"signature": "0x01", "authorization": []}),
        header(payload={"signature": "0x01", "authorization": SIGNED | {"value": "٣"}}),
        header(payload={"signature": "0x01", "authorization": SIGNED | {"value": "-50000"}}),
        header(payload={"signature": "0x01", "authorization": SIGNED | {"value": None}}),
        header(payload={"signature": "0x01", "authorization": SIGNED | {"nonce": "0x" + "0F" * 31}}),
        header(payload={"signature": "0x١", "authorization": SIGNED}),
        header(payload={"authorization": SIGNED}),
    ],
)
def test_what_is_no_payment_is_refused(proof: str) -> None:
    """A header is a stranger's octets."""
    with pytest.raises(Unfit, match="invalid_payload"):
        read_payment(proof, COIN)


@pytest.mark.parametrize(
    "proof",
    [
        header(accepted=COIN.requirements(50_000) | {"scheme": "upto"}),
        header(accepted=COIN.requirements(50_000) | {"network": "eip155:1"}),
        header(accepted=COIN.requirements(50_000) | {"asset": PAYER}),
        header(accepted=COIN.requirements(50_000) | {"payTo": PAYER}),
        header(payload={"signature": "0x01", "authorization": SIGNED | {"to": PAYER}}),
    ],
)
def test_a_payment_for_somebody_elses_terms_is_refused_before_anybody_is_asked(proof: str) -> None:
    """The facilitator would refuse it too; but what we are paid is for us to check."""
    with pytest.raises(Unfit, match=r"unsupported_scheme|mismatch|invalid_payment_requirements"):
        read_payment(proof, COIN)
