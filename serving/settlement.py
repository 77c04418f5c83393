"""The settle stage: what was delivered is captured, what was not is given back, and both only once."""

from collections.abc import Awaitable, Callable

from serving import money
from serving.errors import ClarionError
from serving.pipeline import Captured, Returned, Unbilled
from serving.stage import Work
from serving.values import Hold

AtProvider = Callable[[int, bytes, Hold], Awaitable[None]]
"""Ends a hold at its provider, for the notification of that id and recipient; returns once that is certain."""


class Settlement:
    """Ends a notification's way. The broker moves the hold in our ledger in the same commit as the outcome."""

    def __init__(self, release: AtProvider, void: AtProvider) -> None:
        """`release` gives us the money, once however often it is called; `void` frees the payer's card."""
        self._release = release
        self._void = void

    async def handle(self, work: Work) -> Captured | Unbilled | Returned:
        """Captured or Unbilled where the receiver took the mail, Returned where it will never have it.

        Raises:
            Temporary: the provider has not answered for certain yet.
        """
        hold = _hold(work)
        if "receipt" in work.facts:
            return await self._settle(work, hold)
        if "undeliverable" in work.facts:
            if hold is not None:
                await self._void(work.id, work.recipient, hold)
            return Returned(hold.amount if hold else 0, str(work.facts["undeliverable"]))
        raise ClarionError("neither receipt nor refusal; a notification enters settlement from delivery only")

    async def _settle(self, work: Work, hold: Hold | None) -> Captured | Unbilled:
        if hold is None:
            return Unbilled(str(work.facts.get("waiver", "unstated")))
        await self._release(work.id, work.recipient, hold)
        return Captured(hold.amount)


def _hold(work: Work) -> Hold | None:
    hold = work.facts.get("hold")
    if not hold:
        return None
    account = hold.get("account") or money.wallet_of(work.recipient)  # older holds do not say
    return Hold(int(hold["amount"]), str(hold["currency"]), str(account), str(hold.get("reference", "")))
