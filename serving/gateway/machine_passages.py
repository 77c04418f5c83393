"""Which Idempotency-Keys of paying senders were let through, and which payments were begun for one that was not yet.

Only `accept` tells whether a message came before, and then it is accepted; its own hold may have emptied the wallet
since. So a key is written down before its message is accepted, and its payment before it is sent: whoever repeats a
request, after whatever crash or lost answer and with whatever new payment, is not asked to pay for it again.
"""

import hashlib
from dataclasses import dataclass

from serving.payment.exchange import Ledger


@dataclass(frozen=True, slots=True)
class Passage:
    """A key: whether it was let through; how many payments were begun for it, and the key of the last one."""

    principal: str
    key: str
    is_through: bool
    payments: int = 0
    last: str = ""


class Passages:
    """Kept as closed intents of their own, beside those of the payments: an open one would be somebody's to resume."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def find(self, principal: str, key: str) -> Passage:
        """How it stands with the key."""
        rows = await self._ledger.query("intent", key=_name(principal, key))
        if rows and rows[0]["state"] == "done":
            return Passage(principal, key, True)
        payments, last = 0, ""
        while rows := await self._ledger.query("intent", key=f"{_name(principal, key)}:{payments}"):
            payments, last = payments + 1, str(rows[0]["payload"]["reference"])
        return Passage(principal, key, False, payments, last)

    async def begin(self, passage: Passage, payment: str) -> bool:
        """Whether this payment is the next one for the key; another request may have been faster with another."""
        name = f"{_name(passage.principal, passage.key)}:{passage.payments}"
        return await self._write(name, payment) == payment

    async def let_through(self, principal: str, key: str) -> None:
        """From now on the key is let through, whatever the wallet holds."""
        await self._write(_name(principal, key), "")

    async def _write(self, name: str, payment: str) -> str:
        """The payment under that name: this one, or the one that was there."""
        named = {"reference": payment}
        known = await self._ledger.execute(
            "open_intent", key=name, verb="hold", notification=None, payload=named, reserve=None
        )
        await self._ledger.execute("close_intent", key=name, state="done", outcome=named, transfer=None)
        return payment if known["state"] == "opened" else str(known["reference"])


def _name(principal: str, key: str) -> str:
    content = f"{principal}\n{key}"
    return f"notify:{hashlib.sha256(content.encode()).hexdigest()}"
