"""Money that a recipient paid in, from the account where the provider keeps it apart to ours."""

import logging
from typing import assert_never

from serving.errors import Refused, Temporary
from serving.payment.exchange import Ledger, exchange
from serving.payment.provider import (
    Answer,
    Declined,
    Done,
    NeedsPayer,
    Order,
    Provider,
    TryLater,
    Unknown,
    Verb,
    payer_of,
)
from serving.values import Hold

log = logging.getLogger(__name__)


class Release:
    """Releases the money held for a delivered notification, once however often it is called."""

    def __init__(self, ledger: Ledger, provider: Provider, *, after_refusal: float = 3600.0):
        self._ledger = ledger
        self._provider = provider
        self._after_refusal = after_refusal

    async def __call__(self, notification: int, hold: Hold) -> None:
        """Return once the provider has released it and the intent is closed; at once where it is owed: that is released
        when it is repaid.

        Raises:
            Temporary: not yet, or nobody knows; call again and the provider is asked before anything is sent.
        """
        if not hold.account.startswith("wallet:"):
            return
        payer = payer_of(hold.account)
        order = Order(f"{notification}:capture", Verb.RELEASE, payer, hold.amount, hold.currency)
        try:
            answer = await exchange(self._ledger, self._provider, order, notification=notification)
        except Refused as refused:
            # Not a failure that may end the notification: its mail is delivered, and its money must follow.
            log.error("the broker refuses to settle notification %d: %s", notification, refused.reason)
            raise Temporary(f"the broker refused: {refused.reason}", retry_after=self._after_refusal) from None
        self._insist(notification, answer)

    def _insist(self, notification: int, answer: Answer) -> None:
        match answer:
            case Done():
                return
            case TryLater(reason, retry_after):
                raise Temporary(f"the provider is not ready: {reason}", retry_after=retry_after, is_outage=True)
            case Unknown(reason):
                raise Temporary(f"the provider's answer is unknown: {reason}", is_outage=True)
            case Declined(reason):
                # The mail is delivered and the money is ours by contract: somebody has to look, and nothing is lost.
                log.error("the provider refuses to release for notification %d: %s", notification, reason)
                raise Temporary(f"the provider refused: {reason}", retry_after=self._after_refusal)
            case NeedsPayer():
                raise Temporary("the provider wants the payer's consent", retry_after=self._after_refusal)
            case _:
                assert_never(answer)
