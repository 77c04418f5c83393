"""The gate for senders who pay themselves: covered by their wallet, paid on the spot by a machine (x402), or 402.

It asks for money and takes it into the sender's wallet; what a notification costs is held later, by the payment stage.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn, assert_never

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving import money
from serving.errors import BrokerUnavailable, ConfigurationError
from serving.gateway.machine_passages import Passage, Passages
from serving.gateway.machine_terms import Coin, Unfit, document, encoded, insist, read_payment, receipt
from serving.gateway.problems import Answer, Problem, problem
from serving.payment.exchange import Ledger
from serving.payment.policy import Defaults, Parties, Terms, decide
from serving.payment.provider import LARGEST_AMOUNT, Declined, Done, NeedsPayer, TryLater, Unknown
from serving.payment.provider import Answer as Outcome
from serving.payment.x402_client import Facilitator, Payment, Valid, finish, resume, settle
from serving.settings import Settings

PROOF, TERMS, RECEIPT = "PAYMENT-SIGNATURE", "PAYMENT-REQUIRED", "PAYMENT-RESPONSE"
ASKED, USED = "payment_required", "payment_already_used"

_EXPLAINED = {
    ASKED: "the sender's wallet does not cover this message; nothing was accepted",
    USED: "this payment was credited before, or belongs to another sender; nothing was accepted",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """Where machines pay: the coin that we take, and who carries a payment out."""

    coin: Coin
    facilitator: Facilitator


@dataclass(frozen=True, slots=True)
class Bill:
    """What a message to so many recipients costs its sender at most, and what the wallet has."""

    principal: str
    key: str | None
    price: int
    recipients: int
    currency: str
    balance: int

    @property
    def wallet(self) -> str:
        """The sender's."""
        return money.wallet_of_sender(self.principal)

    @property
    def missing(self) -> int:
        """Minor units; 0 or less where the wallet covers it."""
        return self.price * self.recipients - self.balance

    def terms(self) -> dict[str, Any]:
        """For programs."""
        names = ("price", "recipients", "currency", "balance", "missing")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Demand(Answer):
    """A 402 whose body says, beside what every problem says, what is to be paid."""

    more: Mapping[str, Any] = field(default_factory=dict)

    def response(self) -> Response:
        """The answer as JSON."""
        body = {**self.more, "error": self.error, "detail": self.detail, "hint": self.hint}
        return JSONResponse(body, status_code=self.status, headers=dict(self.headers))


class MachinePayments:
    """Lets a paying sender's message through once its wallet covers it; `machine` is None where no machine can pay."""

    def __init__(
        self,
        ledger: Ledger,
        defaults: Defaults,
        machine: Machine | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._defaults = defaults
        self._machine = machine
        self._passages = Passages(ledger)
        self._clock = clock

    async def admit(self, request: Request, principal: str, recipients: int, key: str | None) -> dict[str, str]:
        """Headers for the 202, empty where nothing was paid just now; `key` is the Idempotency-Key.

        Raises:
            Problem: 402 with the terms, 503 where it is unknown whether the payment was carried out.
        """
        bill = await self._bill(principal, recipients, key)
        if bill is None:
            return {}
        headers = await self._pay(request, bill) if bill.missing > 0 else {}
        if key is not None:
            await self._passages.let_through(principal, key)
        return headers

    async def keep_resuming(self, *, every: float = 30.0) -> NoReturn:
        """Credit what was carried out while nobody came back for the answer, until cancelled."""
        while True:
            await asyncio.sleep(every)
            with suppress(BrokerUnavailable):
                if self._machine is not None:
                    await resume(self._ledger, self._machine.facilitator, self._clock())

    async def close(self) -> None:
        """Close the connections to the facilitator."""
        if self._machine is not None:
            await self._machine.facilitator.close()

    async def _bill(self, principal: str, recipients: int, key: str | None) -> Bill | None:
        """None for a sender who does not pay."""
        rows = await self._ledger.query("sender_policy", principal=principal)
        policy = dict(rows[0]["policy"] or {}) if rows else {}
        terms = decide(None, Parties(b"", principal, {}, policy), self._defaults)
        if not isinstance(terms, Terms) or terms.hold.account != money.wallet_of_sender(principal):
            return None
        balances = await self._ledger.query("balance", account=terms.hold.account)
        balance = int(balances[0]["balance"]) if balances else 0
        return Bill(principal, key, terms.hold.amount, recipients, terms.hold.currency, balance)

    async def _pay(self, request: Request, bill: Bill) -> dict[str, str]:
        passage = None if bill.key is None else await self._passages.find(bill.principal, bill.key)
        if passage and passage.is_through:
            return {}
        machine, proof = self._machine, request.headers.get(PROOF)
        if machine and (intent := await self._under_way(passage, bill)):
            payment, answer = Payment.parse(intent["payload"]["payment"]), await self._finish(machine, intent)
        elif machine and proof is not None:
            payment, answer = await self._paid(request, machine, proof, bill, passage)
        else:
            raise self._demand(request, bill, ASKED)
        return await self._receipt(request, bill, payment, answer)

    async def _paid(
        self, request: Request, machine: Machine, proof: str, bill: Bill, passage: Passage | None
    ) -> tuple[Payment, Outcome]:
        """What became of the payment that came with the request."""
        try:
            payment = read_payment(proof, machine.coin)
            known = await self._ledger.query("intent", key=payment.key)
            if known:
                return payment, await self._again(machine, known[0], bill)
            amount = insist(payment, machine.coin, minor=bill.missing, now=self._clock())
        except Unfit as unfit:
            raise self._demand(request, bill, unfit.reason) from None
        verdict = await machine.facilitator.verify(payment)
        if not isinstance(verdict, Valid):
            return payment, verdict
        return payment, await self._settle(machine, payment, amount, bill, passage)

    async def _settle(
        self, machine: Machine, payment: Payment, amount: int, bill: Bill, passage: Passage | None
    ) -> Outcome:
        if passage and not await self._passages.begin(passage, payment.key):
            return Unknown("another request pays for this key")
        wallet, currency, now = bill.wallet, bill.currency, self._clock()
        return await settle(
            self._ledger, machine.facilitator, payment, wallet=wallet, amount=amount, currency=currency, now=now
        )

    async def _again(self, machine: Machine, intent: Mapping[str, Any], bill: Bill) -> Outcome:
        """The wallet does not cover this message: what was credited before has been spent, and buys nothing more."""
        match intent["state"], intent["payload"]["wallet"]:
            case "open", bill.wallet:
                return await self._finish(machine, intent)
            case "refused", bill.wallet:
                return Declined(str(intent["outcome"]["reason"]))
            case _:
                return Declined(USED)

    async def _under_way(self, passage: Passage | None, bill: Bill) -> Mapping[str, Any] | None:
        """The open intent of a payment that was begun for this very key: whatever comes now, it is finished first."""
        intents = await self._ledger.query("intent", key=passage.last) if passage and passage.last else []
        is_ours = bool(intents) and (intents[0]["state"], intents[0]["payload"]["wallet"]) == ("open", bill.wallet)
        return intents[0] if is_ours else None

    async def _finish(self, machine: Machine, intent: Mapping[str, Any]) -> Outcome:
        return await finish(self._ledger, machine.facilitator, intent, self._clock())

    async def _receipt(self, request: Request, bill: Bill, payment: Payment, answer: Outcome) -> dict[str, str]:
        match answer:
            case Done(reference):
                # A payment may have been begun for less than this message costs now: then the rest is asked for.
                now = await self._bill(bill.principal, bill.recipients, bill.key)
                if now is not None and now.missing > 0:
                    raise self._demand(request, now, ASKED)
                return {RECEIPT: encoded(receipt(payment, reference))}
            case Declined(reason):
                raise self._demand(request, bill, reason)
            case TryLater():
                raise _later("payment_not_ready", "the facilitator does not answer; nothing was accepted")
            case NeedsPayer() | Unknown():
                raise _later("payment_unknown", "it is not known yet whether the payment was carried out")
            case _:
                assert_never(answer)

    def _demand(self, request: Request, bill: Bill, reason: str) -> Problem:
        detail = _EXPLAINED.get(reason, "the payment was refused; nothing moved and nothing was accepted")
        by_hand = f"clarion wallet top-up {bill.principal} {bill.missing / 100:.2f} --sender"
        if self._machine is None or bill.missing > LARGEST_AMOUNT:
            hint, headers, more = f"top up the wallet: `{by_hand}`", {}, {"terms": bill.terms()}
        else:
            url = str(request.url.replace(query=""))  # the query may name recipients
            asked = document(self._machine.coin, bill.missing, error=reason, url=url)
            hint = f"pay with an x402 client and send it again, or top up the wallet: `{by_hand}`"
            headers, more = {TERMS: encoded(asked)}, {**asked, "terms": bill.terms()}
        return Problem(Demand(402, reason, detail, hint, headers, more))


def connect(ledger: Ledger, settings: Settings) -> MachinePayments:
    """The gate as the settings describe it; ConfigurationError where only half of x402 is set up."""
    defaults = Defaults(settings.price, settings.currency, settings.payment_wait)
    if not settings.x402_facilitator:
        return MachinePayments(ledger, defaults)
    needed = ("x402_network", "x402_asset", "x402_asset_name", "x402_asset_version", "x402_pay_to")
    missing = next((name for name in needed if not getattr(settings, name)), None)
    if missing:
        raise ConfigurationError(f"CLARION_{missing.upper()} is empty; x402 needs it, or no CLARION_X402_FACILITATOR")
    network, asset, name, version, pay_to = (str(getattr(settings, name)) for name in needed)
    coin = Coin(network, asset, name, version, settings.x402_asset_decimals, pay_to)
    return MachinePayments(ledger, defaults, Machine(coin, Facilitator(settings.x402_facilitator)))


def _later(error: str, detail: str) -> Problem:
    return problem(503, error, detail, "send the same payment again with the same Idempotency-Key", Retry_After="5")
