"""Who pays for a notification, how much, how long it waits and what then: written policy, nothing else.

A recipient's policy may hold `pays` (false: nobody does), `price`, `free` (notifications a month), `wait` (seconds),
`then` (`expire`, `deliver`, `digest`) and `card` (true: a saved card is held where the wallet is empty); a sender's
`pays` (`recipient`, `sender`, `nobody`), `price`, `free` where it pays itself, `wait`, `then` and `life_safety`. The
recipient's word counts before the sender's, and both before the defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from serving import money
from serving.payment.provider import LARGEST_AMOUNT
from serving.pipeline import Waived
from serving.values import Hold

Then = Literal["expire", "deliver", "digest"]
LONGEST_WAIT = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be held, and what happens `then` when nobody has paid `wait` seconds after the first look at an empty
    wallet. `free` notifications a month come before. `asks` tells whether the payer is asked for money by mail, `card`
    whether a saved card may be held for this one notification where the wallet does not cover it."""

    hold: Hold
    wait: float
    then: Then
    free: int = 0
    asks: bool = True
    card: bool = False


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where no policy says otherwise: `price` in minor units of `currency`, `wait` in seconds. A hold is
    good for `hold_for` seconds, 0 for ever."""

    price: int
    currency: str
    wait: float
    then: Then = "expire"
    free: int = 0
    hold_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Parties:
    """A notification's two sides, with their stored policies."""

    recipient: bytes
    principal: str
    of_recipient: Mapping[str, Any]
    of_sender: Mapping[str, Any]


def decide(waiver: str | None, parties: Parties, defaults: Defaults) -> Terms | Waived:
    """The terms, or why nobody pays. What cannot be read charges nobody: wrong money is worse than no money."""
    sender = parties.of_sender
    if waiver:
        return Waived(waiver)
    if sender.get("life_safety", False) is True:
        return Waived("life_safety")
    match sender.get("pays", "recipient"):
        case "recipient":
            return _recipient_pays(parties, defaults)
        case "sender":
            account = money.wallet_of_sender(parties.principal)
            return _terms(account, (sender,), defaults, free=sender.get("free", 0), asks=False)
        case "nobody":
            return Waived("sender_policy")
        case _:
            return Waived("policy_unreadable")


def _recipient_pays(parties: Parties, defaults: Defaults) -> Terms | Waived:
    match parties.of_recipient.get("pays", True):
        case False:
            return Waived("recipient_policy")
        case True:
            pass
        case _:
            return Waived("policy_unreadable")
    policies = (parties.of_recipient, parties.of_sender)
    terms = _terms(money.wallet_of(parties.recipient), policies, defaults, free=parties.of_recipient.get("free"))
    has_card = parties.of_recipient.get("card", False) is True
    return replace(terms, card=has_card) if isinstance(terms, Terms) else terms


def _terms(
    account: str, policies: tuple[Mapping[str, Any], ...], defaults: Defaults, *, free: Any = 0, asks: bool = True
) -> Terms | Waived:
    price = _first(policies, "price", defaults.price)
    if not _is_count(price):
        return Waived("policy_unreadable")
    if price == 0:
        return Waived("free")
    then = _first(policies, "then", defaults.then)
    return Terms(
        Hold(price, defaults.currency, account),
        _seconds(_first(policies, "wait", defaults.wait), defaults.wait),
        then if then in get_args(Then) else defaults.then,
        free if _is_count(free) else defaults.free,
        asks,
    )


def _first(policies: tuple[Mapping[str, Any], ...], name: str, default: Any) -> Any:
    return next((policy[name] for policy in policies if name in policy), default)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_AMOUNT


def _seconds(value: Any, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return default
    return min(float(value), LONGEST_WAIT)
