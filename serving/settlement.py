"""The settle stage: what was delivered is captured, what was not is given back, and both only once."""

from collections.abc import Awaitable, Callable

from serving import money
from serving.errors import ClarionError
from serving.pipeline import Captured, Returned, Unbilled
from serving.stage import Work
from serving.values import Hold

Release = Callable[[int, Hold], Awaitable[None]]


class Settlement:
    """Ends a notification's way. The broker moves the hold in our ledger in the same commit as the outcome."""

    def __init__(self, release: Release) -> None:
        """`release(notification, hold)` returns once the provider has released the money to us, once."""
        self._release = release

    async def handle(self, work: Work) -> Captured | Unbilled | Returned:
        """Captured or Unbilled where the receiver took the mail, Returned where it will never have it.

        Raises:
            Temporary: the provider has not answered for certain yet.
        """
        hold = _hold(work)
        if "receipt" in work.facts:
            return await self._settle(work, hold)
        if "undeliverable" in work.facts:
            return Returned(hold.amount if hold else 0, str(work.facts["undeliverable"]))
        raise ClarionError("neither receipt nor refusal; a notification enters settlement from delivery only")

    async def _settle(self, work: Work, hold: Hold | None) -> Captured | Unbilled:
        if hold is None:
            return Unbilled(str(work.facts.get("waiver", "unstated")))
        await self._release(work.id, hold)
        return Captured(hold.amount)


def _hold(work: Work) -> Hold | None:
    hold = work.facts.get("hold")
    if not hold:
        return None
    account = hold.get("account") or money.wallet_of(work.recipient)  # holds of schema 4 do not say
    return Hold(int(hold["amount"]), str(hold["currency"]), str(account))
