"""The payment stage: what is delivered as urgent is paid for first, or a written policy says why not."""

import time
from collections.abc import Callable
from typing import Any

from serving.payment.exchange import Ledger
from serving.payment.policy import decide
from serving.pipeline import Held, Unfunded, Waived
from serving.stage import Work


class Payment:
    """Answers with the hold to make; the broker makes it, or refuses it, in the hop's own transaction."""

    def __init__(
        self, ledger: Ledger, *, price: int, currency: str, wait: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._ledger = ledger
        self._price = price
        self._currency = currency
        self._wait = wait
        self._clock = clock

    async def handle(self, work: Work) -> Held | Waived:
        """What the recipient's and the sender's policies say; changes nothing."""
        recipient = await self._policy("recipient", lookup=work.recipient.hex())
        sender = await self._policy("sender_policy", principal=work.principal)
        return decide(work.facts.get("waiver"), recipient, sender, price=self._price, currency=self._currency)

    async def unfunded(self, work: Work) -> Unfunded:
        """The wallet lacked the money for what `handle` asked: wait for a top-up; look again after `wait` seconds."""
        outcome = await self.handle(work)
        amount = outcome.hold.amount if isinstance(outcome, Held) else 0
        return Unfunded(amount, self._currency, self._clock() + self._wait)

    async def _policy(self, query: str, **parameters: Any) -> dict[str, Any]:
        rows = await self._ledger.query(query, **parameters)
        return dict(rows[0]["policy"] or {}) if rows else {}
