"""Money from a wallet back to where it came from."""

from serving import money
from serving.payment.exchange import Ledger, Transfer, close, exchange
from serving.payment.provider import Answer, Declined, Order, Provider, Verb, payer_of


async def refund(
    ledger: Ledger, provider: Provider, *, wallet: str, amount: int, currency: str, key: str, reference: str = ""
) -> Answer:
    """Give `amount` minor units of a wallet back, once per `key`; `reference` is the provider's name of the charge.

    The money leaves the wallet with the intent, so that nobody spends it meanwhile, and returns if the provider says
    no. After `TryLater` and `Unknown` call again with the same key, or let `topup.resume` do it.

    Raises:
        Refused: `insufficient_funds`, the wallet holds less.
    """
    order = Order(key, Verb.REFUND, payer_of(wallet), amount, currency, reference)
    aside, clearing = money.held_for(key), money.clearing_of(provider.name)
    answer = await exchange(
        ledger,
        provider,
        order,
        payload={"wallet": wallet, "reference": reference},
        reserve=Transfer(f"{key}:reserved", {wallet: -amount, aside: amount}, currency),
        transfer=Transfer(key, {aside: -amount, clearing: amount}, currency),
    )
    if isinstance(answer, Declined):
        back = Transfer(f"{key}:back", {aside: -amount, wallet: amount}, currency)
        await close(ledger, order, answer, transfer=back)
    return answer
