"""Money from outside into a wallet."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from serving import money
from serving.errors import BrokerUnavailable, ClarionError
from serving.payment.exchange import Ledger, Transfer, close, exchange, open_intents
from serving.payment.provider import (
    LARGEST_AMOUNT,
    NOT_KEPT,
    Absent,
    Answer,
    Declined,
    Done,
    NeedsPayer,
    Order,
    Provider,
    Verb,
    payer_of,
)
from serving.payment.refund import refund

_log = logging.getLogger(__name__)

AT_ONCE = 8
"""Intents that are asked about at once: one that hangs keeps seven others, not thousands."""


async def top_up(ledger: Ledger, provider: Provider, *, wallet: str, amount: int, currency: str, key: str) -> Answer:
    """Charge the owner and credit the wallet, once per `key`; what waits for this money is woken.

    `Done` means that the wallet has it, `Declined` and `NeedsPayer` that nothing moved. After `TryLater` and `Unknown`
    call again with the same key, or let `resume` do it. Raises ValueError for an amount (minor units) that is not
    within 1 and `LARGEST_AMOUNT`.
    """
    if not 0 < amount <= LARGEST_AMOUNT:
        raise ValueError(f"a top-up needs a positive amount of at most {LARGEST_AMOUNT} minor units")
    order = Order(key, Verb.CHARGE, payer_of(wallet), amount, currency)
    transfer = Transfer(key, money.top_up(provider.name, wallet, amount), currency)
    answer = await exchange(ledger, provider, order, payload={"wallet": wallet}, transfer=transfer)
    if isinstance(answer, Declined):
        await close(ledger, order, answer)
    return answer


async def resume(ledger: Ledger, provider: Provider) -> list[Answer]:
    """Finish what somebody began and did not live to end: top-ups, refunds, and releases of repaid debt. Each is asked
    about before it is sent again.

    A notification's own release needs none of this: it still waits at `settlement`, which does the same.
    """
    answers: list[Answer | None] = []
    async for page in open_intents(ledger):
        for some in _batched(page, AT_ONCE):
            answers += await asyncio.gather(*(_resumed(ledger, provider, intent) for intent in some))
    return [answer for answer in answers if answer is not None]


async def resume_one(ledger: Ledger, provider: Provider, intent: dict[str, Any]) -> Answer | None:
    """The same for one intent as the broker tells it; None for one that is over, or that a stage will ask about."""
    if intent["state"] != "open" or intent["notification"] is not None:
        return None
    payload, key = intent["payload"], intent["key"]
    match Verb(intent["verb"]):
        case Verb.CHARGE:
            wallet, amount, currency = payload["wallet"], payload["amount"], payload["currency"]
            return await top_up(ledger, provider, wallet=wallet, amount=amount, currency=currency, key=key)
        case Verb.REFUND:
            return await refund(
                ledger,
                provider,
                wallet=payload["wallet"],
                amount=payload["amount"],
                currency=payload["currency"],
                key=key,
                reference=payload["reference"],
            )
        case Verb.RELEASE | Verb.VOID as verb:
            reference = payload.get("reference", "")
            order = Order(key, verb, payload["payer"], payload["amount"], payload["currency"], reference)
            answer = await exchange(ledger, provider, order)
            if isinstance(answer, Declined):
                if answer != NOT_KEPT:  # what repaid a debt may have come another way; anything else is to be looked at
                    _log.error("the provider declines %s: %s", key, answer.reason)
                await close(ledger, order, answer)
            return answer
        case Verb.HOLD:
            return await _void(ledger, provider, intent)
        case _:
            return None


async def keep_resuming(ledger: Ledger, provider: Provider, *, every: float = 30.0) -> NoReturn:
    """`resume` every so many seconds, until cancelled; a broker that is away is waited for."""
    while True:
        try:
            await resume(ledger, provider)
        except ClarionError as error:
            _log.warning("open payments were not asked about: %s", error)
        await asyncio.sleep(every)


async def _resumed(ledger: Ledger, provider: Provider, intent: dict[str, Any]) -> Answer | None:
    """One that fails keeps none of the others; it is asked about again the next time."""
    try:
        return await resume_one(ledger, provider, intent)
    except BrokerUnavailable:
        raise
    except Exception as error:
        _log.error("the payment %s could not be asked about: %s", intent["key"], type(error).__name__)
        return None


async def _void(ledger: Ledger, provider: Provider, intent: dict[str, Any]) -> Answer:
    """A hold whose notification was given up before anybody knew how it ended: a card that is held is freed."""
    payload, key = intent["payload"], intent["key"]
    reference = payload.get("reference", "")
    order = Order(key, Verb.HOLD, payload["payer"], payload["amount"], payload["currency"], reference)
    answer = await provider.find(order)
    match answer:
        case Absent() | Declined() | NeedsPayer():
            gone = Declined("given_up")
            await close(ledger, order, gone)
            return gone
        case Done(found):
            void = replace(order, key=key.replace(":hold", ":void"), verb=Verb.VOID, reference=found)
            freed = await exchange(ledger, provider, void)
            if isinstance(freed, Done | Declined):
                await close(ledger, order, Declined("given_up"))
            return freed
        case _:
            return answer


def _batched(intents: Sequence[dict[str, Any]], count: int) -> Iterator[Sequence[dict[str, Any]]]:
    return (intents[start : start + count] for start in range(0, len(intents), count))
