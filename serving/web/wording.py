"""What the pay page says: after something was done, and when it cannot do what was asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from serving.web.desk import DueState


class Said(StrEnum):
    """What became of the form that was just sent: the code that the page's address carries after it."""

    PAID = "paid"
    SHORT = "short"
    CREDITED = "credited"
    PENDING = "pending"
    DECLINED = "declined"
    EXPIRED_CARD = "expired_card"
    INSUFFICIENT_FUNDS = "insufficient_funds"


SENTENCES: Mapping[Said, str] = {
    Said.PAID: "Thank you. The price comes from your wallet; there is nothing more to do.",
    Said.SHORT: "Your wallet does not cover the price. Nothing was taken; top it up first.",
    Said.CREDITED: "Thank you. Your wallet has been topped up.",
    Said.PENDING: "Your payment has not been confirmed yet. Please do not pay again: look again in a minute.",
    Said.DECLINED: "The payment was declined. Nothing was taken; try another card or another amount.",
    Said.EXPIRED_CARD: "Your card has expired. Nothing was taken; try another card.",
    Said.INSUFFICIENT_FUNDS: "Your card does not cover this amount. Nothing was taken; try less, or another card.",
}
UNSETTLED = frozenset({Said.PAID, Said.PENDING})
"""Money is on its way: a page that still waits offers no second payment."""
_TRUE: Mapping[DueState, frozenset[Said]] = {
    DueState.WAITING: frozenset(Said),
    DueState.PAID: frozenset({Said.PAID, Said.CREDITED}),
    DueState.OVER: frozenset(Said) - {Said.PAID, Said.SHORT},
}


def said(code: str, state: DueState) -> Said | None:
    """The code if it is one of ours, and still true: what has happened since is on the page itself."""
    return Said(code) if code in _TRUE[state] else None


def declined(reason: str) -> Said:
    """What is said about a provider's reason: the reason itself where people can act on it."""
    return Said(reason) if reason in (Said.EXPIRED_CARD, Said.INSUFFICIENT_FUNDS) else Said.DECLINED


@dataclass(frozen=True, slots=True)
class Apology:
    """A page instead of the one that was asked for: what happened, and what to do."""

    status: int
    heading: str
    what: str
    advice: str
    leads_back: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


NOT_FOUND = Apology(
    404,
    "There is nothing here",
    "This link is not complete, or it is not one of ours.",
    "Open the link in your mail once more; if you copy it, copy it to its very end.",
    leads_back=False,
)
EXPIRED = Apology(
    410,
    "This link has expired",
    "Links to this page end some time after the message that they were made for.",
    "If you still wait for the message, ask its sender to send it again. What is in your wallet stays yours.",
    leads_back=False,
)
BROKEN = Apology(
    400,
    "We did not understand that",
    "The form came without all of its parts, or with an amount that is not offered. Nothing was taken.",
    "Go back to the page and choose again.",
)
UNAVAILABLE = Apology(
    503,
    "Please come back in a minute",
    "We cannot look at your wallet at the moment. Nothing is lost.",
    "If you were paying, look at the page before you pay again: it shows what has arrived.",
    headers={"Retry-After": "60"},
)
INTERNAL = Apology(
    500,
    "Something broke on our side",
    "It is written down, and it is not your fault.",
    "If you were paying, look at the page before you pay again: it shows what has arrived.",
)


@dataclass(frozen=True, slots=True)
class Apologies:
    """A page's own words for what can go wrong on it; that a link is none of ours is said alike everywhere."""

    expired: Apology
    broken: Apology
    unavailable: Apology
    internal: Apology


PAYING = Apologies(EXPIRED, BROKEN, UNAVAILABLE, INTERNAL)
