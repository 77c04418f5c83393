"""A desk for the pay page's tests: it remembers what it was asked, and charges once per attempt."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from serving.web.desk import BadToken, Credited, Due, DueState, Line, Statement, TopUp
from serving.web.pay import application

TOKEN = "v1.MDEyMzQ1Njc4OWFiY2RlZg~sig"  # with every kind of character that a token's alphabet may have
KEY = "page:7:500:attempt"
HOME = f"/pay/{TOKEN}"
STATEMENT = f"/pay/statement/{TOKEN}s"
PROVIDER = "https://checkout.example"
FORM = {"amount": "500", "attempt": "attempt-of-sixteen-or-more"}
NOW = 1_795_618_800.0  # 2026-11-25 15:00 UTC
HOUR = 3_600.0
DUE = Due("City Hospital", 5, "EUR", NOW + 18 * HOUR + 40, 420, DueState.WAITING, (500, 1_000, 2_000))
LINES = (
    Line(NOW - HOUR, "City Hospital", -5, "EUR", "0000000000034"),
    Line(NOW - 30 * HOUR, "Top-up", 500, "EUR", ""),
)


@dataclass
class FakeDesk:
    """Knows two tokens. `error` is raised by whatever is called next; `pause` seconds pass before a top-up's answer."""

    now: Due = DUE
    lines: Sequence[Line] = LINES
    answer: TopUp = field(default_factory=Credited)
    error: Exception | None = None
    pause: float = 0.0
    asked: list[tuple[str, int, str]] = field(default_factory=list)
    charged: dict[str, int] = field(default_factory=dict)
    payments: int = 0

    async def due(self, token: str) -> Due:
        self._check(token)
        return self.now

    async def come_back(self, key: str) -> str:
        if key != KEY:
            raise BadToken("forged")
        return TOKEN

    async def pay_from_wallet(self, token: str) -> bool:
        self._check(token)
        if self.now.state is DueState.PAID:
            return True
        if self.now.balance < self.now.amount:
            return False
        self.payments += 1
        self.now = replace(self.now, balance=self.now.balance - self.now.amount, state=DueState.PAID)
        return True

    async def top_up(self, token: str, amount: int, attempt: str) -> TopUp:
        self._check(token)
        self.asked.append((token, amount, attempt))
        await asyncio.sleep(self.pause)
        if isinstance(self.answer, Credited) and attempt not in self.charged:
            self.charged[attempt] = amount
            self.now = replace(self.now, balance=self.now.balance + amount)
        return self.answer

    async def statement(self, token: str) -> Statement:
        self._check(token, f"{TOKEN}s")
        return Statement(self.lines, self.now.balance, self.now.currency)

    def _check(self, token: str, expected: str = TOKEN) -> None:
        if self.error is not None:
            raise self.error
        assert token == expected


def browsing(desk: FakeDesk) -> TestClient:
    """A browser that follows nothing by itself, on the page as it is mounted."""
    attempts = count(1)
    page = application(desk, provider=PROVIDER, clock=lambda: NOW, draw=lambda: f"attempt-{next(attempts):016}")
    return TestClient(Starlette(routes=[Mount("/pay", page)]), follow_redirects=False)
