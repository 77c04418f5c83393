"""What the pay page asks for and is told: values, and one protocol that whoever owns the money implements."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from serving.errors import ClarionError


class DueState(StrEnum):
    """How far a notification's payment is."""

    WAITING = "waiting"  # for the payer
    PAID = "paid"  # the money is held, or the message was delivered
    OVER = "over"  # its time is over, or it ended unpaid


@dataclass(frozen=True, slots=True)
class Due:
    """What one notification asks of its recipient. Money is minor units; `until` is seconds since the epoch."""

    sender: str
    amount: int
    currency: str
    until: float
    balance: int
    state: DueState
    top_ups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One movement in the wallet: what for, minor units (negative: taken out), at seconds since the epoch."""

    at: float
    what: str
    amount: int
    currency: str
    notification: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What moved in a wallet, in the order in which it is to be read, and what is left (minor units)."""

    lines: Sequence[Line]
    balance: int
    currency: str


@dataclass(frozen=True, slots=True)
class Credited:
    """The wallet has the money."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Nothing moved yet; the payer agrees at `url`, which is the provider's."""

    url: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider said no; nothing moved. `reason` is the provider's code, never shown as it is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """Nobody knows yet whether the money moved; it is found out without paying again."""


TopUp = Credited | Redirect | Declined | Pending


class BadToken(ClarionError):
    """The link's token opens nothing: it was never ours, or its time is over."""

    def __init__(self, reason: Literal["forged", "expired"]) -> None:
        super().__init__(f"the token is {reason}; open the link in the mail again")
        self.reason: Literal["forged", "expired"] = reason


class Desk(Protocol):
    """What the page does for a payer. Every method raises BadToken, and BrokerUnavailable while the queue is away."""

    async def due(self, token: str) -> Due:
        """What the notification behind the token asks for."""
        ...

    async def pay_from_wallet(self, token: str) -> bool:
        """Set the price aside, once however often it is called; False where the wallet does not cover it."""
        ...

    async def top_up(self, token: str, amount: int, attempt: str) -> TopUp:
        """Charge `amount` minor units and credit the wallet, once per amount and `attempt`, the form's own value."""
        ...

    async def come_back(self, key: str) -> str:
        """The token of the page from which the top-up of this key was begun; how it ended is found out first."""
        ...

    async def statement(self, token: str) -> Statement:
        """The wallet's statement; its token is another than that of a payment."""
        ...
