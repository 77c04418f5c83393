"""The payment stage: what is delivered as urgent is paid for first, or a written policy says why not."""

import time
from collections.abc import Callable
from typing import Any

from serving.payment.exchange import Ledger
from serving.payment.policy import decide
from serving.pipeline import Held, Hold, Unfunded, Waived
from serving.stage import Work

REMEMBERED = 1024
SOONEST = 5.0


class Payment:
    """Answers with the hold to make; the broker makes it, or refuses it, in the hop's own transaction."""

    def __init__(
        self, ledger: Ledger, *, price: int, currency: str, wait: float, clock: Callable[[], float] = time.time
    ) -> None:
        """`price` is minor units of `currency`; `wait` is the most seconds between two looks at an empty wallet."""
        self._ledger = ledger
        self._default = Hold(price, currency)
        self._wait = wait
        self._clock = clock
        self._asked: dict[int, Hold] = {}

    async def handle(self, work: Work) -> Held | Waived:
        """What the recipient's and the sender's policies say; changes nothing."""
        recipient = await self._policy("recipient", lookup=work.recipient.hex())
        sender = await self._policy("sender_policy", principal=work.principal)
        price, currency = self._default.amount, self._default.currency
        outcome = decide(work.facts.get("waiver"), recipient, sender, price=price, currency=currency)
        if isinstance(outcome, Held):
            self._remember(work.id, outcome.hold)
        return outcome

    def unfunded(self, work: Work) -> Unfunded:
        """What the wallet lacked when it was asked for `handle`'s hold: a top-up wakes it, otherwise time does.

        A top-up may come after the refusal and before the parking, and then wakes nobody. So the next look is due after
        as long as the notification has waited already: soon at first, and seldom for those that wait long.
        """
        hold = self._asked.pop(work.id, self._default)
        now = self._clock()
        pause = min(max(now - work.accepted_at, SOONEST), self._wait)
        return Unfunded(hold.amount, hold.currency, now + pause)

    def _remember(self, id_: int, hold: Hold) -> None:
        """For `unfunded`, which follows at once or never: many more than a process works on at a time."""
        self._asked[id_] = hold
        if len(self._asked) > REMEMBERED:
            del self._asked[next(iter(self._asked))]

    async def _policy(self, query: str, **parameters: Any) -> dict[str, Any]:
        rows = await self._ledger.query(query, **parameters)
        return dict(rows[0]["policy"] or {}) if rows else {}
