"""What a machine is asked for and what it answers, after x402 version 2: terms out, a signed authorization in.

One scheme (`exact`) on EVM chains: the payer signs a transfer of a stable coin to us (EIP-3009, EIP-712).
https://github.com/coinbase/x402/blob/main/specs/x402-specification-v2.md
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.payment.provider import LARGEST_AMOUNT
from serving.payment.x402_client import VERSION, Payment

VALID_FOR = 3600
"""Seconds that a payer is asked to sign for: while they last, a lost answer can still be asked about."""
LEAST_VALIDITY = 60
"""Seconds that must be left of them when a payment comes."""
LONGEST_PROOF = 16 * 1024

_ADDRESS, _NONCE = re.compile("0x[0-9a-fA-F]{40}"), re.compile("0x[0-9a-fA-F]{64}")
_SIGNATURE = re.compile("0x[0-9a-fA-F]+")
_NUMBER = re.compile("0|[1-9][0-9]{0,30}")
_FORM: Mapping[str, re.Pattern[str]] = {
    "from": _ADDRESS,
    "to": _ADDRESS,
    "value": _NUMBER,
    "validAfter": _NUMBER,
    "validBefore": _NUMBER,
    "nonce": _NONCE,
}


class Unfit(ValueError):
    """The payment is none, or does not answer the terms; `reason` is a word of x402's where it has one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Coin:
    """A stable coin of the ledger's currency, and where we take it.

    `network` is a CAIP-2 name (`eip155:8453`); `name` and `version` are the contract's EIP-712 domain. One minor unit
    of the currency (a cent) is 10^(`decimals` - 2) of the coin's atomic units.
    """

    network: str
    asset: str
    name: str
    version: str
    decimals: int
    pay_to: str

    def requirements(self, atomic: int) -> dict[str, Any]:
        """What a payer of so many atomic units has to sign."""
        return {
            "scheme": "exact",
            "network": self.network,
            "asset": self.asset,
            "amount": str(atomic),
            "payTo": self.pay_to,
            "maxTimeoutSeconds": VALID_FOR,
            "extra": {"name": self.name, "version": self.version},
        }

    def atomic(self, minor: int) -> int:
        """So many minor units in atomic ones."""
        return minor * self._in_minor

    def minor(self, atomic: int) -> int:
        """The reverse; Unfit where a part of a minor unit would be left, or for more than the ledger takes at once."""
        minor, rest = divmod(atomic, self._in_minor)
        if rest or not 0 < minor <= LARGEST_AMOUNT:
            raise Unfit("invalid_exact_evm_payload_authorization_value")
        return minor

    @property
    def _in_minor(self) -> int:
        return int(10 ** (self.decimals - 2))


def document(coin: Coin, minor: int, *, error: str, url: str) -> dict[str, Any]:
    """The `PaymentRequired` of x402 for so many minor units."""
    resource = {"url": url, "description": "delivery of a notification", "mimeType": "application/json"}
    return {
        "x402Version": VERSION,
        "error": error,
        "resource": resource,
        "accepts": [coin.requirements(coin.atomic(minor))],
    }


def encoded(fields: Mapping[str, Any]) -> str:
    """JSON for a header."""
    return base64.b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode("ascii")


def receipt(payment: Payment, transaction: str) -> dict[str, Any]:
    """The `SettleResponse` of x402; `transaction` is empty where only the nonce tells that it was carried out."""
    return {
        "success": True,
        "transaction": transaction,
        "network": payment.requirements["network"],
        "payer": payment.authorization["from"],
        "amount": payment.authorization["value"],
    }


def read_payment(header: str, coin: Coin) -> Payment:
    """The payment in a PAYMENT-SIGNATURE header, if its form is right and it was made for our coin; raises Unfit.

    Whether it is enough, and in time, is for `insist`; whether it is signed, for the facilitator.
    """
    match _decoded(header):
        case {
            "x402Version": 2,
            "accepted": {"scheme": str(scheme), "network": str(network), "asset": str(asset), "payTo": str(pay_to)},
            "payload": {"signature": str(signature), "authorization": dict(authorization)},
        }:
            signed = {name: str(authorization.get(name, "")) for name in _FORM}
        case _:
            raise Unfit("invalid_payload")
    if not _SIGNATURE.fullmatch(signature) or not all(form.fullmatch(signed[name]) for name, form in _FORM.items()):
        raise Unfit("invalid_payload")
    _require(scheme == "exact", "unsupported_scheme")
    _require(network == coin.network, "network_mismatch")
    _require(_is_same(asset, coin.asset), "invalid_payment_requirements")
    _require(
        _is_same(pay_to, coin.pay_to) and _is_same(signed["to"], coin.pay_to),
        "invalid_exact_evm_payload_recipient_mismatch",
    )
    return Payment(coin.requirements(int(signed["value"])), signed, signature)


def insist(payment: Payment, coin: Coin, *, minor: int, now: float) -> int:
    """The payment's amount in minor units, at least `minor`; raises Unfit for less, and for what is not valid now."""
    signed = payment.authorization
    amount = coin.minor(int(signed["value"]))
    _require(amount >= minor, "invalid_exact_evm_payload_authorization_value_mismatch")
    _require(int(signed["validAfter"]) <= now, "invalid_exact_evm_payload_authorization_valid_after")
    _require(int(signed["validBefore"]) >= now + LEAST_VALIDITY, "invalid_exact_evm_payload_authorization_valid_before")
    return amount


def _decoded(header: str) -> Any:
    if len(header) > LONGEST_PROOF:
        raise Unfit("invalid_payload")
    try:
        return json.loads(base64.b64decode(header, validate=True))
    except (ValueError, RecursionError):
        raise Unfit("invalid_payload") from None


def _is_same(address: str, other: str) -> bool:
    """The letters' case is only a checksum (ERC-55)."""
    return address.lower() == other.lower()


def _require(right: bool, reason: str) -> None:
    if not right:
        raise Unfit(reason)
