"""A wallet's movements: with its owner's debt, page by page, nothing left out between the pages."""

from dataclasses import dataclass
from typing import Any

import pytest

from serving.payment.statement import LATEST, line_of, movements

WALLET = "wallet:sender:p1"
DEBT = f"debt:{WALLET}"
TRANSFERS: list[tuple[str, dict[str, int]]] = [
    ("top-up:1", {WALLET: 20}),
    ("7:held", {WALLET: -5}),
    ("7:captured", {}),
    ("8:captured", {DEBT: -9}),
    ("top-up:2", {WALLET: 9}),
    ("top-up:2:repaid", {WALLET: -9, DEBT: 9}),
    ("9:held", {WALLET: -5}),
    ("9:returned", {WALLET: 5}),
]


@dataclass
class Books:
    """The broker's `statement` over these transfers; counts how often it is asked."""

    asked: int = 0

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        assert name == "statement"
        self.asked += 1
        account, before = parameters["account"], parameters["before"]
        rows = [
            {
                "seq": seq,
                "at": float(seq),
                "key": key,
                "notification": None,
                "currency": "EUR",
                "amount": moved[account],
            }
            for seq, (key, moved) in enumerate(TRANSFERS, 1)
            if account in moved and seq < before
        ]
        return rows[::-1][: parameters["limit"]]


def told(rows: list[dict[str, Any]]) -> list[tuple[int, str, int]]:
    return [(row["seq"], line_of(row).what, row["amount"]) for row in rows]


async def test_what_is_owed_and_what_was_repaid_stand_among_what_was_paid() -> None:
    """The sum of all lines is the wallet less the debt, whatever it was that moved."""
    lines = told(await movements(Books(), WALLET))

    assert [line for line in lines if line[0] in (4, 5, 6)] == [
        (6, "debt repaid", -9),
        (6, "debt repaid", 9),
        (5, "top-up", 9),
        (4, "owed for delivery", -9),
    ]
    assert sum(amount for *_, amount in lines) == sum(sum(moved.values()) for _, moved in TRANSFERS)


@pytest.mark.parametrize("limit", range(1, 10))
async def test_pages_of_any_length_together_are_the_whole(limit: int) -> None:
    """A transfer that is cut in two at the end of a page would lose its other half."""
    whole, pages, before = await movements(Books(), WALLET), [], LATEST
    while page := await movements(Books(), WALLET, limit=limit, before=before):
        assert limit <= len(page) <= limit + 1 or page[-1] == whole[-1]
        pages += page
        before = page[-1]["seq"]

    assert pages == whole


async def test_the_whole_is_asked_for_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of the broker's has a largest size; a statement has none."""
    whole, books = await movements(Books(), WALLET), Books()
    monkeypatch.setattr("serving.payment.statement.PAGE", 2)

    assert await movements(books, WALLET) == whole
    assert books.asked > 2
