"""The ledger's verbs: between which accounts each moves money. Amounts are minor units; every sum is zero."""

from serving.queue.lease import Posting

REVENUE = "revenue"
UNITS = "FREE"
"""The currency of what is counted and is no money: free notifications."""

Postings = tuple[Posting, ...]


def wallet_of(recipient: bytes) -> str:
    """A recipient's money; `recipient` is the keyed hash of the address."""
    return f"wallet:{recipient.hex()}"


def wallet_of_sender(principal: str) -> str:
    """A sender's money."""
    return f"wallet:sender:{principal}"


def debt_of(wallet: str) -> str:
    """What the owner of a wallet owes: never above zero, and paid back by the next top-up."""
    return f"debt:{wallet}"


def allowance_of(recipient: bytes, month: str) -> str:
    """The free notifications that a recipient has left in a month (`2026-11`)."""
    return f"wallet:free:{recipient.hex()}:{month}"


def held_for(notification: int) -> str:
    """The money that is set aside for one notification."""
    return f"hold:{notification}"


def top_up(provider: str, wallet: str, amount: int) -> dict[str, int]:
    """From outside into a wallet."""
    return {clearing_of(provider): -amount, wallet: amount}


def refund(provider: str, wallet: str, amount: int) -> dict[str, int]:
    """From a wallet to where it came from."""
    return {wallet: -amount, clearing_of(provider): amount}


def clearing_of(provider: str) -> str:
    """What a provider owes us: below zero by all that was paid in, and above by what it is to pay out."""
    return f"clearing:{provider}"


def hold(notification: int, source: str, amount: int) -> Postings:
    """Set aside; the source is a wallet, a clearing where a card is held, or a debt where nobody pays and it is
    delivered all the same."""
    return _move(source, held_for(notification), amount)


def capture(notification: int, source: str, amount: int, held: int) -> Postings:
    """`amount` of what is held becomes revenue, at most all of it; what is left is the payer's again."""
    back = held - amount
    return (
        Posting(held_for(notification), -held),
        Posting(REVENUE, amount),
        *([Posting(source, back)] if back else []),
    ) if held else ()  # fmt: skip


def void(notification: int, source: str, held: int) -> Postings:
    """What is held is the payer's again, all of it."""
    return _move(held_for(notification), source, held)


def use_allowance(account: str) -> Postings:
    """One free notification less."""
    return _move(account, "allowances", 1)


def _move(source: str, target: str, amount: int) -> Postings:
    return (Posting(source, -amount), Posting(target, amount)) if amount else ()
