"""The pay page's other side: what a notification asks for, paid from the wallet or by way of a provider."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, assert_never

from serving import money
from serving.errors import Refused
from serving.payment import provider as providers
from serving.payment.exchange import Ledger
from serving.payment.provider import Provider
from serving.payment.statement import line_of, movements
from serving.payment.topup import resume_one, top_up
from serving.web.desk import BadToken, Credited, Declined, Due, DueState, Pending, Redirect, Statement, TopUp
from serving.web.token import SHOWN_AFTERWARDS, Links

_WAITING = frozenset({"payment", "notice"})
_ENDED = frozenset({"dead", "discarded", "rejected"})


@dataclass(frozen=True, slots=True)
class Offer:
    """What a payer may top up at once, in minor units of `currency`."""

    amounts: tuple[int, ...]
    currency: str


class PayDesk:
    """Serves one page for each token. It moves no money by itself: the payment stage holds, a provider charges."""

    def __init__(
        self, ledger: Ledger, provider: Provider, links: Links, offer: Offer, clock: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._links = links
        self._offer = offer
        self._clock = clock

    async def due(self, token: str) -> Due:
        """See `serving.web.desk.Desk`."""
        row = await self._notification(token)
        asked = row["facts"]["due"]
        principals = await self._ledger.query("principal", id=row["principal"])
        return Due(
            sender=principals[0]["name"] if principals else "Somebody",
            amount=asked["amount"],
            currency=asked["currency"],
            until=asked["until"],
            balance=await self._balance(_wallet(row)),
            state=_state(row, self._clock()),
            top_ups=self._offer.amounts,
        )

    async def pay_from_wallet(self, token: str) -> bool:
        """See `serving.web.desk.Desk`. It wakes the notification; the payment stage makes the hold, or finds that
        another notification was faster."""
        row = await self._notification(token)
        if await self._balance(_wallet(row)) < row["facts"]["due"]["amount"]:
            return False
        if row["state"] == "parked":
            with suppress(Refused):  # somebody woke it meanwhile
                await self._ledger.execute("retry", id=row["id"])
        return True

    async def top_up(self, token: str, amount: int, attempt: str) -> TopUp:
        """See `serving.web.desk.Desk`."""
        row = await self._notification(token)
        if _state(row, self._clock()) is not DueState.WAITING:
            return Declined("over")
        key = f"page:{row['id']}:{amount}:{attempt}"
        answer = await top_up(
            self._ledger,
            self._provider,
            wallet=_wallet(row),
            amount=amount,
            currency=self._offer.currency,
            key=key,
        )
        match answer:
            case providers.Done():
                return Credited()
            case providers.NeedsPayer(url):
                return Redirect(url)
            case providers.Declined(reason):
                return Declined(reason)
            case providers.TryLater() | providers.Unknown():
                return Pending()
            case _:
                assert_never(answer)

    async def come_back(self, key: str) -> str:
        """See `serving.web.desk.Desk`."""
        intents = await self._ledger.query("intent", key=key)
        page, _, rest = key.partition(":")
        if page != "page" or not intents:
            raise BadToken("forged")
        await resume_one(self._ledger, self._provider, intents[0])
        rows = await self._ledger.query("notification", id=rest.partition(":")[0])
        return self._links.pay.make(int(rows[0]["id"]), rows[0]["facts"]["due"]["until"] + SHOWN_AFTERWARDS)

    async def statement(self, token: str) -> Statement:
        """See `serving.web.desk.Desk`."""
        wallet = self._links.statement.read(token, self._clock())
        lines = [line_of(each) for each in await movements(self._ledger, wallet)]
        return Statement(lines, await self._balance(wallet), self._offer.currency)

    async def _notification(self, token: str) -> dict[str, Any]:
        id_ = self._links.pay.read(token, self._clock())
        rows = await self._ledger.query("notification", id=str(id_))
        if not rows or "due" not in rows[0]["facts"]:
            raise BadToken("forged")
        return rows[0]

    async def _balance(self, wallet: str) -> int:
        rows = await self._ledger.query("balance", account=wallet)
        return int(rows[0]["balance"]) if rows else 0


def _wallet(row: Mapping[str, Any]) -> str:
    return money.wallet_of(bytes.fromhex(row["recipient"]))


def _state(row: Mapping[str, Any], now: float) -> DueState:
    facts = row["facts"]
    is_owed = str(facts.get("hold", {}).get("account", "")).startswith("debt:")
    if row["state"] in _ENDED or facts.get("lapsed") or "undeliverable" in facts or "triage" in facts or is_owed:
        return DueState.OVER
    if row["stage"] in _WAITING:
        return DueState.WAITING if now <= row["facts"]["due"]["until"] else DueState.OVER
    return DueState.PAID
