"""A provider call in two commits: the intent before it, the outcome after it; whatever dies in between is asked about.

Safe to repeat with the same order at any point and from any number of processes: an intent found open is first asked
about, and what the provider has not committed is sent again under the same key.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from serving.payment.provider import Absent, Answer, Declined, Done, NeedsPayer, Order, Provider


class Ledger(Protocol):
    """The part of the broker's client that payments use."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Transfer:
    """What our ledger moves in the transaction that closes the intent; the postings' sum is 0."""

    key: str
    postings: Mapping[str, int]
    currency: str

    def parameters(self) -> dict[str, Any]:
        """As the broker wants it."""
        postings = [{"account": account, "amount": amount} for account, amount in self.postings.items()]
        return {"key": self.key, "postings": postings, "currency": self.currency}


async def exchange(
    ledger: Ledger,
    provider: Provider,
    order: Order,
    *,
    notification: int | None = None,
    payload: Mapping[str, str] | None = None,
    transfer: Transfer | None = None,
    reserve: Transfer | None = None,
) -> Answer:
    """The provider's answer to the order; `Done` is returned only after the intent is closed and the transfer made.

    Any other answer leaves the intent open, to be asked about by the next call for the same order. `reserve` is made in
    the opening commit.
    """
    intent = await ledger.execute(
        "open_intent",
        key=order.key,
        verb=order.verb.value,
        notification=None if notification is None else str(notification),
        payload={"payer": order.payer, "amount": order.amount, "currency": order.currency, **(payload or {})},
        reserve=reserve.parameters() if reserve else None,
        accounts=sorted(transfer.postings) if transfer else [],
    )
    match intent["state"]:
        case "done":
            return Done(_detail(intent, "reference"))
        case "refused":
            return Declined(_detail(intent, "reason"))
        case "open":
            known = replace(order, reference=order.reference or str(intent.get("reference") or ""))
            answer = await _ask_then_perform(provider, known)
        case _:
            answer = await provider.perform(order)
    if isinstance(answer, NeedsPayer) and answer.reference:
        await ledger.execute("remember_intent", key=order.key, reference=answer.reference)
    if isinstance(answer, Done):
        await close(ledger, order, answer, transfer=transfer)
    return answer


async def open_intents(ledger: Ledger) -> AsyncIterator[list[dict[str, Any]]]:
    """What was begun for no notification and has not ended, oldest first, a page at a time."""
    page = await ledger.query("intents", state="open", loose=True)
    while page:
        yield page
        page = await ledger.query("intents", state="open", loose=True, after=(page[-1]["opened_at"], page[-1]["key"]))


async def close(
    ledger: Ledger,
    order: Order,
    answer: Done | Declined,
    *,
    transfer: Transfer | None = None,
) -> None:
    """Commit how the order ended, with what our ledger moves for it; nobody will ask about it again."""
    done = isinstance(answer, Done)
    outcome = {"reference": answer.reference} if isinstance(answer, Done) else {"reason": answer.reason}
    await ledger.execute(
        "close_intent",
        key=order.key,
        state="done" if done else "refused",
        outcome=outcome,
        transfer=transfer.parameters() if transfer else None,
    )


async def _ask_then_perform(provider: Provider, order: Order) -> Answer:
    answer = await provider.find(order)
    if isinstance(answer, Absent):
        return await provider.perform(order)
    return answer


def _detail(intent: Mapping[str, Any], name: str) -> str:
    return str((intent.get("outcome") or {}).get(name, ""))
