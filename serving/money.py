"""The ledger's verbs: between which accounts each moves money. Amounts are minor units; every sum is zero."""

from serving.queue.lease import Posting

REVENUE, ADVANCES = "revenue", "advances"
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
    """What the owner of a wallet owes: never above zero, and paid back by the next top-up.

    It is booked when the mail was delivered. Until then the hold is made of our own `advances`, to which it returns
    where there is nothing to be paid for.
    """
    return f"debt:{wallet}"


def allowance_of(wallet: str, month: str) -> str:
    """The free notifications that a wallet's owner has left in a month (`2026-11`)."""
    return f"wallet:free:{wallet.removeprefix('wallet:')}:{month}"


def held_for(what: int | str) -> str:
    """The money that is set aside for one notification, or for one refund on its way."""
    return f"hold:{what}"


def top_up(provider: str, wallet: str, amount: int) -> dict[str, int]:
    """From outside into a wallet."""
    return {clearing_of(provider): -amount, wallet: amount}


def clearing_of(provider: str) -> str:
    """What a provider owes us: below zero by all that was paid in, and above by what it is to pay out."""
    return f"clearing:{provider}"


def card_of(provider: str, wallet: str) -> str:
    """What a provider owes us of the card of a wallet's owner: a clearing account for each payer, so that a statement
    can tell of it."""
    return f"card:{provider}:{wallet.removeprefix('wallet:')}"


def provider_of(account: str) -> str | None:
    """The provider that a card is held by; None for an account that is no card's."""
    kind, _, rest = account.partition(":")
    return rest.partition(":")[0] if kind == "card" else None


def hold(notification: int, source: str, amount: int) -> Postings:
    """Set aside; the source is a wallet, a payer's card, or a debt where nobody pays and it is delivered all the
    same."""
    return _move(_lender(source), held_for(notification), amount)


def capture(notification: int, source: str, amount: int, held: int) -> Postings:
    """`amount` of what is held becomes revenue, at most all of it; what is left is the payer's again."""
    if not held:
        return ()
    postings = [Posting(held_for(notification), -held), Posting(REVENUE, amount)]
    if _lender(source) == ADVANCES:
        postings += [Posting(ADVANCES, held), Posting(source, -amount)]
    elif held > amount:
        postings.append(Posting(source, held - amount))
    return tuple(postings)


def void(notification: int, source: str, held: int) -> Postings:
    """What is held is the payer's again, all of it."""
    return _move(held_for(notification), _lender(source), held)


def use_allowance(account: str) -> Postings:
    """One free notification less."""
    return _move(account, "allowances", 1)


def _lender(source: str) -> str:
    return ADVANCES if source.startswith("debt:") else source


def _move(source: str, target: str, amount: int) -> Postings:
    return (Posting(source, -amount), Posting(target, amount)) if amount else ()
