"""Money from outside into a recipient's wallet."""

import asyncio
from contextlib import suppress
from typing import Any, NoReturn

from serving.errors import BrokerUnavailable
from serving.payment.exchange import Ledger, Transfer, close, exchange
from serving.payment.provider import LARGEST_AMOUNT, Answer, Declined, Order, Provider, Verb, payer_reference


async def top_up(ledger: Ledger, provider: Provider, *, lookup: bytes, amount: int, currency: str, key: str) -> Answer:
    """Charge the recipient and credit the wallet, once per `key`; what waits for this recipient's money is woken.

    `Done` means that the wallet has it, `Declined` and `NeedsPayer` that nothing moved. After `TryLater` and `Unknown`
    call again with the same key, or let `resume` do it. Raises ValueError for an amount (minor units) that is not
    within 1 and `LARGEST_AMOUNT`.
    """
    if not 0 < amount <= LARGEST_AMOUNT:
        raise ValueError(f"a top-up needs a positive amount of at most {LARGEST_AMOUNT} minor units")
    order = Order(key, Verb.CHARGE, payer_reference(lookup), amount, currency)
    postings = {f"clearing:{provider.name}": -amount, f"wallet:{lookup.hex()}": amount}
    answer = await exchange(
        ledger,
        provider,
        order,
        payload={"wallet": lookup.hex()},
        transfer=Transfer(key, postings, currency),
        wake=lookup,
    )
    if isinstance(answer, Declined):
        await close(ledger, order, answer)
    return answer


async def resume(ledger: Ledger, provider: Provider) -> list[Answer]:
    """Finish the top-ups that somebody began and did not live to end; each is asked about before it is sent again.

    Releases need none of this: their notifications still wait at `settlement`, which does the same.
    """
    intents = await ledger.query("intents", state="open")
    return [await _resume(ledger, provider, intent) for intent in intents if intent["verb"] == Verb.CHARGE]


async def keep_resuming(ledger: Ledger, provider: Provider, *, every: float = 30.0) -> NoReturn:
    """`resume` every so many seconds, until cancelled; a broker that is away is waited for."""
    while True:
        with suppress(BrokerUnavailable):
            await resume(ledger, provider)
        await asyncio.sleep(every)


async def _resume(ledger: Ledger, provider: Provider, intent: dict[str, Any]) -> Answer:
    payload = intent["payload"]
    return await top_up(
        ledger,
        provider,
        lookup=bytes.fromhex(payload["wallet"]),
        amount=payload["amount"],
        currency=payload["currency"],
        key=intent["key"],
    )
