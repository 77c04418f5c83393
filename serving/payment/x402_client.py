"""An x402 facilitator: it checks a payer's signed authorization (EIP-3009), carries it out, and is asked by that alone.

Whether an authorization was carried out for us cannot be asked, but each nonce is spent once, so that sending one again
moves nothing twice and tells. "Spent" means spent by us only where an earlier attempt of ours may have succeeded:

- an intent is opened only for what /verify has just called good, nonce unspent; with no intent, spent is elsewhere;
- the first /settle that answers "spent" lost against somebody else: refused, and the intent is closed;
- a later one follows an attempt whose answer was lost, and nobody makes one while the first may still be under way:
  "spent" means that the first was carried out.

The last can be wrong for a payer who signed the nonce twice, and spends it elsewhere while we know nothing: it costs
one payment, after an outage, and only the chain itself could tell (the Transfer beside its AuthorizationUsed event).
https://github.com/coinbase/x402, https://eips.ethereum.org/EIPS/eip-3009
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from serving import money
from serving.payment.exchange import Ledger, Transfer, close, exchange, open_intents
from serving.payment.provider import Absent, Answer, Declined, Done, Order, TryLater, Unknown, Verb, payer_of

VERSION = 2
NAME = "x402"
SPENT = "invalid_exact_evm_nonce_already_used"
_WORD = re.compile("[a-z0-9_]{1,120}")
_REFUSALS = re.compile("invalid_exact_evm_[a-z0-9_]{1,100}|insufficient_funds|unsupported_scheme|network_mismatch")
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Payment:
    """A payer's authorization, signed, and the requirements that it answers; both as a facilitator takes them."""

    requirements: Fields
    authorization: Fields
    signature: str

    @property
    def payer(self) -> str:
        """Whose money it is, in lower case."""
        return str(self.authorization["from"]).lower()

    @property
    def key(self) -> str:
        """One name for whatever spends this nonce."""
        return f"{NAME}:{self.payer}:{str(self.authorization['nonce']).lower()}"

    def request(self) -> dict[str, Any]:
        """The body for /verify and /settle: nothing of the payer's words beyond what was signed."""
        signed = {"signature": self.signature, "authorization": self.authorization}
        payload = {"x402Version": VERSION, "payload": signed, "accepted": self.requirements}
        return {"x402Version": VERSION, "paymentPayload": payload, "paymentRequirements": self.requirements}

    def text(self) -> str:
        """All of it, for the intent."""
        return json.dumps([self.requirements, self.authorization, self.signature])

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reverse."""
        return cls(*json.loads(text))


@dataclass(frozen=True, slots=True)
class Valid:
    """The facilitator would carry it out now."""


class Facilitator:
    """One facilitator over HTTP, without credentials of ours. Close it."""

    def __init__(self, url: str, *, timeout: float = 20.0) -> None:
        """`timeout` is seconds for one answer, all in all; a chain takes some."""
        self.timeout = timeout
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def verify(self, payment: Payment) -> Valid | Declined | TryLater:
        """Whether it could be carried out; moves nothing."""
        match await self._post("/verify", payment):
            case {"isValid": True}:
                return Valid()
            case {"isValid": False, "invalidReason": str(reason)} if _WORD.fullmatch(reason):
                return Declined(reason)
            case {"isValid": False}:
                return Declined("invalid_payload")
            case _:
                return TryLater("the facilitator does not say whether the payment is good")

    async def settle(self, payment: Payment) -> Answer:
        """Carry it out; `Declined` is not the end of it where it was sent before."""
        fields = await self._post("/settle", payment)
        match fields:
            case TryLater() | Unknown():
                return fields
            case {"success": True, "transaction": str(transaction)} if transaction and _is_about(fields, payment):
                return Done(transaction)
            case {"success": False, "errorReason": str(reason)} if not fields.get("transaction"):
                return Declined(reason) if _REFUSALS.fullmatch(reason) else Unknown("the facilitator failed")
            case _:
                return Unknown("the answer does not say how this payment ended")

    async def _post(self, path: str, payment: Payment) -> Fields | TryLater | Unknown:
        try:
            async with asyncio.timeout(self.timeout):
                response = await self._http.post(path, json=payment.request())
            fields = response.json()
        except _NEVER_SENT as error:
            return TryLater(f"no connection ({type(error).__name__})")
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            return Unknown(f"no answer ({type(error).__name__})")
        if response.status_code >= 500 or not isinstance(fields, dict):
            return Unknown(f"status {response.status_code} without an answer")
        return fields


@dataclass(frozen=True, slots=True)
class Settling:
    """A `Provider` for one payment. `is_repeated`: an earlier attempt was made, and is certainly over."""

    facilitator: Facilitator
    payment: Payment
    is_repeated: bool = False
    name: str = NAME

    async def perform(self, _: Order) -> Answer:
        """Carry it out for the first time."""
        return await self.facilitator.settle(self.payment)

    async def find(self, _: Order) -> Answer | Absent:
        """Carry it out unless an earlier attempt did; nothing while that may still be under way."""
        if not self.is_repeated:
            return Unknown("another request settles this payment")
        match await self.facilitator.settle(self.payment):
            case Declined(reason) if reason == SPENT:
                return Done("")
            case Declined(reason):
                # It says nothing of the earlier attempt: a facilitator calls expired what it carried out in time as
                # well. Such an intent stays open, and somebody has to look at the chain.
                return Unknown(f"no longer to be had: {reason}")
            case answer:
                return answer


async def settle(
    ledger: Ledger, facilitator: Facilitator, payment: Payment, *, wallet: str, amount: int, currency: str, now: float
) -> Answer:
    """Carry a verified payment out and credit the wallet with `amount` minor units, once however often it is called.

    `Done` means that the wallet has it, `Declined` that nothing moved; after any other answer ask `finish`.
    """
    payload = {"wallet": wallet, "payment": payment.text(), "at": str(now)}
    return await _exchange(ledger, Settling(facilitator, payment), wallet, amount, currency, payload)


async def finish(ledger: Ledger, facilitator: Facilitator, intent: Fields, now: float) -> Answer:
    """The same for an open intent that `settle` left, with the payment that it was opened for."""
    payload = intent["payload"]
    if now < float(payload["at"]) + 2 * facilitator.timeout:
        return Unknown("another request settles this payment")
    settling = Settling(facilitator, Payment.parse(payload["payment"]), is_repeated=True)
    return await _exchange(ledger, settling, payload["wallet"], payload["amount"], payload["currency"], {})


async def resume(ledger: Ledger, facilitator: Facilitator, now: float) -> list[Answer]:
    """Finish what nobody came back for."""
    answers = []
    async for page in open_intents(ledger):
        ours = [intent for intent in page if intent["key"].startswith(f"{NAME}:") and "payment" in intent["payload"]]
        answers += [await finish(ledger, facilitator, intent, now) for intent in ours]
    return answers


async def _exchange(
    ledger: Ledger, settling: Settling, wallet: str, amount: int, currency: str, payload: Mapping[str, str]
) -> Answer:
    key = settling.payment.key
    # A capture, not a charge: the payer's signature holds the money and we take it. The sandbox or Stripe must neither
    # resume it (`topup.resume` would, for a charge) nor be asked to refund it.
    order = Order(key, Verb.CAPTURE, payer_of(wallet), amount, currency)
    transfer = Transfer(key, money.top_up(NAME, wallet, amount), currency)
    answer = await exchange(ledger, settling, order, payload=payload, transfer=transfer)
    if isinstance(answer, Declined):
        await close(ledger, order, answer)
    return answer


def _is_about(fields: Fields, payment: Payment) -> bool:
    payer, network = fields.get("payer"), fields.get("network")
    amount = fields.get("amount") or payment.authorization["value"]
    is_payer = payer is None or str(payer).lower() == payment.payer
    return is_payer and network == payment.requirements["network"] and str(amount) == payment.authorization["value"]
