"""What becomes of a hold at the provider: the money is ours, or the payer's card is free again."""

import logging
from typing import assert_never

from serving import money
from serving.errors import Refused, Temporary
from serving.payment.exchange import Ledger, close, exchange
from serving.payment.provider import (
    NOT_KEPT,
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
    """Ends holds, each once however often it is called.

    What was paid in lies apart at the provider and is released to us, but for what a sender paid another way (x402),
    which is ours already; a card that was held is captured, or freed by `void`. What is owed is neither: it is
    released when it is repaid.
    """

    def __init__(self, ledger: Ledger, provider: Provider, *, after_refusal: float = 3600.0):
        self._ledger = ledger
        self._provider = provider
        self._after_refusal = after_refusal

    async def __call__(self, notification: int, recipient: bytes, hold: Hold) -> None:
        """Return once the money is ours and the intent is closed.

        Raises:
            Temporary: not yet, or nobody knows; call again and the provider is asked before anything is sent.
        """
        if hold.account.startswith("wallet:"):
            order = Order(f"{notification}:capture", Verb.RELEASE, payer_of(hold.account), hold.amount, hold.currency)
        elif hold.reference:
            self._check_provider(notification, hold)
            order = self._on_card(notification, recipient, hold, Verb.CAPTURE)
        else:
            return
        await self._insist(notification, order, hold)

    async def void(self, notification: int, recipient: bytes, hold: Hold) -> None:
        """Return once a card that was held is free; raises Temporary as above. Other holds lie in our ledger alone."""
        if hold.reference:
            self._check_provider(notification, hold)
            await self._insist(notification, self._on_card(notification, recipient, hold, Verb.VOID), hold)

    def _check_provider(self, notification: int, hold: Hold) -> None:
        """A card's hold is known to its own provider alone; another one would decline what it never heard of."""
        keeper = money.provider_of(hold.account) or self._provider.name
        if keeper != self._provider.name:
            log.error("notification %d: its card is held by %s; set CLARION_PROVIDER to that", notification, keeper)
            raise Temporary(f"the card is held by {keeper}", retry_after=self._after_refusal)

    def _on_card(self, notification: int, recipient: bytes, hold: Hold, verb: Verb) -> Order:
        payer = payer_of(money.wallet_of(recipient))
        return Order(f"{notification}:{verb}", verb, payer, hold.amount, hold.currency, hold.reference)

    async def _insist(self, notification: int, order: Order, hold: Hold) -> None:
        try:
            answer = await exchange(self._ledger, self._provider, order, notification=notification)
        except Refused as refused:
            # Not a failure that may end the notification: its mail is delivered, and its money must follow.
            log.error("the broker refuses to settle notification %d: %s", notification, refused.reason)
            pause = None if refused.reason == "storage" else self._after_refusal
            raise Temporary(f"the broker refused: {refused.reason}", retry_after=pause) from None
        if answer == NOT_KEPT and hold.account.startswith(money.wallet_of_sender("")):
            log.warning("nothing is kept for notification %d: its sender paid another way", notification)
            await close(self._ledger, order, NOT_KEPT)
            return
        self._believe(notification, answer)

    def _believe(self, notification: int, answer: Answer) -> None:
        match answer:
            case Done():
                return
            case TryLater(reason, retry_after):
                raise Temporary(f"the provider is not ready: {reason}", retry_after=retry_after, is_outage=True)
            case Unknown(reason):
                raise Temporary(f"the provider's answer is unknown: {reason}", is_outage=True)
            case Declined(reason):
                # The mail is delivered and the money is ours by contract: somebody has to look, and nothing is lost.
                log.error("the provider refuses to settle notification %d: %s", notification, reason)
                raise Temporary(f"the provider refused: {reason}", retry_after=self._after_refusal)
            case NeedsPayer():
                raise Temporary("the provider wants the payer's consent", retry_after=self._after_refusal)
            case _:
                assert_never(answer)
