"""The payment stage: what is delivered as urgent is paid for first, or a written policy says why not.

Where the payer's wallet is empty the notification waits without a worker: the payer is asked once, a top-up wakes it,
and when its time is over the policy says whether it expires, is delivered and owed, or goes into the digest.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, assert_never

from serving import money
from serving.errors import Temporary
from serving.payment.exchange import Ledger, close, exchange
from serving.payment.policy import Defaults, Parties, Terms, decide
from serving.payment.provider import Declined, Done, NeedsPayer, Order, Provider, TryLater, Unknown, Verb, payer_of
from serving.pipeline import Digested, Due, Free, Held, Lapsed, Owed, Unfunded, Waived
from serving.stage import Work
from serving.values import Hold

REMEMBERED = 1024
SOONEST = 5.0
SELDOM = 86_400.0
"""Seconds between two looks at an empty wallet, at most: a top-up wakes, this is for what was missed."""

Shortfall = Held | Due | Unfunded | Lapsed | Owed | Digested


class Payment:
    """Answers with the hold to make; the broker makes it, or refuses it, in the hop's own transaction."""

    def __init__(
        self,
        ledger: Ledger,
        defaults: Defaults,
        *,
        provider: Provider | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`provider` holds saved cards, where there is one and a recipient wants that."""
        self._ledger = ledger
        self._provider = provider
        self._defaults = defaults
        self._clock = clock
        self._asked: dict[int, Terms] = {}

    async def handle(self, work: Work) -> Held | Free | Waived:
        """What the recipient's and the sender's policies say."""
        recipients, senders = await asyncio.gather(
            self._policy("recipient", lookup=work.recipient.hex()),
            self._policy("sender_policy", principal=work.principal),
        )
        parties = Parties(work.recipient, work.principal, recipients, senders)
        terms = decide(work.facts.get("waiver"), parties, self._defaults)
        if isinstance(terms, Waived):
            return terms
        if "due" in work.facts:  # what was asked for holds, whatever a policy says since
            terms = _as_asked(terms, work.facts["due"])
        if terms.card and (held := await self._begun_on_card(work, terms.hold)):
            return held
        account = await self._allowance(terms.hold.account, terms.free) if terms.free else None
        self._remember(work.id, terms if account else replace(terms, free=0))
        return Free(account) if account else Held(self._dated(terms.hold))

    async def unfunded(self, work: Work) -> Shortfall:
        """What becomes of it where the wallet did not cover `handle`'s hold.

        Raises:
            Temporary: a card may be held, and nobody knows yet whether it is.
        """
        terms = self._asked.pop(work.id, None) or self._otherwise(work)
        now, hold = self._clock(), terms.hold
        since, until = _waiting(work.facts, now, terms.wait)
        if terms.free:  # somebody was faster with the month's last free one
            return Unfunded(hold.amount, hold.currency, now, until)
        if terms.card and (held := await self._on_card(work, hold)):
            return held
        if now >= until:
            return self._late(terms)
        if terms.asks and "asked" not in work.facts:
            return Due(hold.amount, hold.currency, until)
        # As long as it has waited already: soon at first, and seldom for what waits long. Not at once, though: the
        # store's clock may be ahead of ours.
        pause = min(max(now - since, SOONEST), SELDOM)
        return Unfunded(hold.amount, hold.currency, max(min(now + pause, until), now + 1.0), until)

    def _late(self, terms: Terms) -> Lapsed | Owed | Digested:
        hold = terms.hold
        match terms.then:
            case "expire":
                return Lapsed(hold.amount, hold.currency, hold.account)
            case "deliver":
                return Owed(self._dated(replace(hold, account=money.debt_of(hold.account))))
            case "digest":
                return Digested(self._clock(), "nobody paid in time")

    async def _begun_on_card(self, work: Work, hold: Hold) -> Held | None:
        """A card that was held before, or may have been: that comes first, or it would stay held beside the wallet."""
        begun = await self._ledger.query("intent", key=f"{work.id}:hold")
        return await self._on_card(work, hold) if begun and begun[0]["state"] != "refused" else None

    async def _on_card(self, work: Work, hold: Hold) -> Held | None:
        """The recipient's saved card, held for this notification; None where it cannot be."""
        if self._provider is None:
            return None
        order = Order(f"{work.id}:hold", Verb.HOLD, payer_of(hold.account), hold.amount, hold.currency)
        answer = await exchange(self._ledger, self._provider, order, notification=work.id)
        match answer:
            case Done(reference):
                card = money.card_of(self._provider.name, hold.account)
                return Held(self._dated(replace(hold, account=card, reference=reference)))
            case Declined():
                await close(self._ledger, order, answer)
                return None
            case NeedsPayer():
                return None
            case TryLater(reason, retry_after):
                raise Temporary(f"the provider is not ready: {reason}", retry_after=retry_after, is_outage=True)
            case Unknown(reason):
                raise Temporary(f"the provider's answer is unknown: {reason}", is_outage=True)
            case _:
                assert_never(answer)

    def _dated(self, hold: Hold) -> Hold:
        return replace(hold, until=self._clock() + self._defaults.hold_for) if self._defaults.hold_for else hold

    async def _allowance(self, wallet: str, free: int) -> str | None:
        """The account of this month's free notifications where any is left; it is filled when the month begins."""
        month = f"{datetime.fromtimestamp(self._clock(), UTC):%Y-%m}"
        account = money.allowance_of(wallet, month)
        rows = await self._ledger.query("balance", account=account)
        if rows:
            return account if int(rows[0]["balance"]) > 0 else None
        await self._ledger.execute("grant_allowance", account=account, count=free)
        return account

    def _remember(self, id_: int, terms: Terms) -> None:
        """For `unfunded`, which follows at once or never: many more than a process works on at a time."""
        self._asked[id_] = terms
        if len(self._asked) > REMEMBERED:
            del self._asked[next(iter(self._asked))]

    def _otherwise(self, work: Work) -> Terms:
        default = self._defaults
        hold = Hold(default.price, default.currency, money.wallet_of(work.recipient))
        return Terms(hold, default.wait, default.then)

    async def _policy(self, query: str, **parameters: Any) -> dict[str, Any]:
        rows = await self._ledger.query(query, **parameters)
        return dict(rows[0]["policy"] or {}) if rows else {}


def _waiting(facts: Mapping[str, Any], now: float, wait: float) -> tuple[float, float]:
    """Since when, and until when, it waits for money: from the first look at an empty wallet on."""
    until = facts.get("due", {}).get("until") or facts.get("unfunded", {}).get("deadline")
    return (now, now + wait) if until is None else (until - wait, until)


def _as_asked(terms: Terms, due: Mapping[str, Any]) -> Terms:
    return replace(terms, hold=replace(terms.hold, amount=due["amount"], currency=due["currency"]))
