"""Who pays for a notification, and how much: written policy, nothing else."""

from collections.abc import Mapping
from typing import Any

from serving.pipeline import Held, Hold, Waived


def decide(
    waiver: str | None, recipient: Mapping[str, Any], sender: Mapping[str, Any], *, price: int, currency: str
) -> Held | Waived:
    """What is to be held from the recipient's wallet, or why nobody pays.

    `recipient` and `sender` are the stored policies; `price` is minor units and holds where the recipient's policy
    states no price. A policy that cannot be read charges nobody: wrong money is worse than no money.
    """
    if waiver:
        return Waived(waiver)
    if recipient.get("pays", True) is False:
        return Waived("recipient_policy")
    if sender.get("life_safety", False) is True:
        return Waived("life_safety")
    return _price(recipient.get("price", price), currency)


def _price(price: Any, currency: str) -> Held | Waived:
    if isinstance(price, bool) or not isinstance(price, int) or price < 0:
        return Waived("policy_unreadable")
    if price == 0:
        return Waived("free")
    return Held(Hold(price, currency))
