"""Which Idempotency-Keys of paying senders were let through, and by which payment one is being paid for.

Only `accept` tells whether a message came before, and then it is accepted; its own hold may have emptied the wallet
since. So a key is written down before its message is accepted, and before its payment is sent: whoever repeats a
request, after whatever crash or lost answer and with whatever new payment, is not asked to pay for it again.
"""

import hashlib
from dataclasses import dataclass

from serving.payment.exchange import Ledger


@dataclass(frozen=True, slots=True)
class Passage:
    """A key that came before; `payment` is the key of the payment that it waits for, if it does."""

    is_through: bool
    payment: str


class Passages:
    """Kept as intents that are no provider's, beside those of the payments: `done` is let through."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def find(self, principal: str, key: str) -> Passage | None:
        """What is known of the key; None for a new one."""
        rows = await self._ledger.query("intent", key=_name(principal, key))
        if not rows:
            return None
        return Passage(rows[0]["state"] == "done", str(rows[0]["payload"].get("reference") or ""))

    async def begin(self, principal: str, key: str, *, payment: str, instead: str = "") -> bool:
        """Whether this payment is the one for the key from now on: it is new, or waits for one that came to nothing
        (`instead`)."""
        name = _name(principal, key)
        known = await self._open(name, payment)
        if known["state"] == "open" and known["reference"] == instead:
            await self._ledger.execute("remember_intent", key=name, reference=payment)
            return True
        return bool(known["state"] == "opened" or known["reference"] == payment)

    async def let_through(self, principal: str, key: str) -> None:
        """From now on the key is let through, whatever the wallet holds."""
        name = _name(principal, key)
        await self._open(name, "")
        await self._ledger.execute("close_intent", key=name, state="done", outcome={"reference": ""})

    async def _open(self, name: str, payment: str) -> dict[str, str]:
        # The verb is one that `topup.resume` leaves alone.
        payload = {"reference": payment}
        return await self._ledger.execute("open_intent", key=name, verb="hold", notification=None, payload=payload)


def _name(principal: str, key: str) -> str:
    content = f"{principal}\n{key}"
    return f"notify:{hashlib.sha256(content.encode()).hexdigest()}"
