"""What somebody paid, for what, and what they owe: the ledger's rows of a wallet, in words."""

from collections.abc import Mapping
from typing import Any, Protocol

from serving.identifiers import format_id
from serving.money import card_of, debt_of
from serving.payment.providers import HAVE_CARDS
from serving.web.desk import Line

PAGE = 1_000
LATEST = (1 << 63) - 2


class Books(Protocol):
    """What a statement asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


async def movements(
    books: Books, wallet: str, *, limit: int | None = None, before: int = LATEST
) -> list[dict[str, Any]]:
    """What went into and out of a wallet, its owner's card and debt before the transfer `before`, the last first.

    All of it, or `limit` rows and what else belongs to the last of them: a repaid debt is one transfer and two rows.
    """
    accounts = (wallet, *(card_of(provider, wallet) for provider in sorted(HAVE_CARDS)))
    paid = [row for account in accounts for row in await _rows(books, account, limit, before)]
    owed = [_as_owed(row) for row in await _rows(books, debt_of(wallet), limit, before)]
    rows = sorted([*paid, *owed], key=lambda row: int(row["seq"]), reverse=True)
    end = None if limit is None else [row["seq"] for row in rows[limit - 1 : limit]]
    return rows if not end else [row for row in rows if row["seq"] >= end[0]]


async def _rows(books: Books, account: str, limit: int | None, before: int) -> list[dict[str, Any]]:
    size = min(limit or PAGE, PAGE)
    rows = page = await books.query("statement", account=account, limit=size, before=before)
    while len(page) == size and (limit is None or len(rows) < limit):
        page = await books.query("statement", account=account, limit=size, before=page[-1]["seq"])
        rows = [*rows, *page]
    return rows


def _as_owed(row: Mapping[str, Any]) -> dict[str, Any]:
    """What settlement captured of a debt is what is owed."""
    return {**row, "key": row["key"].replace(":captured", ":owed")}


def line_of(row: Mapping[str, Any]) -> Line:
    """A row of the broker's `statement`, for people."""
    notification = row["notification"]
    return Line(
        at=row["at"],
        what=_what(row["key"]),
        amount=row["amount"],
        currency=row["currency"],
        notification="" if notification is None else format_id(int(notification)),
    )


def _what(key: str) -> str:
    """What a transfer was for, by its key: `<notification>:<verb>` for what a hop posted."""
    known = {
        "held": "set aside for delivery",
        "owed": "owed for delivery",
        "returned": "given back, not delivered",
        "captured": "paid for delivery",
        "repaid": "debt repaid",
        "reserved": "refund",
        "back": "refund refused",
    }
    return known.get(key.rpartition(":")[2], "top-up")
