"""What a payment provider is to us: an order that may end in five ways, and a way to ask how it ended."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from serving.queue.limits import MAX_AMOUNT

PAYER_LENGTH = 16
LARGEST_AMOUNT = MAX_AMOUNT
"""Minor units in one order: what our ledger takes in one posting."""


class Verb(StrEnum):
    """What a provider does: with money that it keeps for a payer apart from ours, and with a card held directly."""

    CHARGE = "charge"  # from the payer's card or account into the money kept for the payer
    RELEASE = "release"  # from the money kept for the payer to us
    REFUND = "refund"  # from the money kept for the payer back to the card or account
    HOLD = "hold"  # on the payer's card, until it is captured, voided, or too old
    CAPTURE = "capture"  # of what was held, or of less, to us; what is left is the payer's again
    VOID = "void"  # of what was held: nothing is taken


@dataclass(frozen=True, slots=True)
class Order:
    """What we want the provider to do, once for each `key` however often it is sent. `amount` is minor units, > 0.

    `reference` is the provider's own name: of the hold that is captured or voided, of the charge that is refunded, or
    what `NeedsPayer` named when this very order was sent before.
    """

    key: str
    verb: Verb
    payer: str
    amount: int
    currency: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The money moved; `reference` is the provider's own name for it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider said no; nothing moved."""

    reason: str


NOT_KEPT = Declined("insufficient")
"""To a release: nothing is kept for this payer, or not as much. What came another way (x402) is ours already."""


@dataclass(frozen=True, slots=True)
class NeedsPayer:
    """Nothing moved; it will when the payer has agreed at `url`. `reference` names what they agree to."""

    url: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class TryLater:
    """Nothing moved; the same order may succeed in `retry_after` seconds (None: the provider does not say when)."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer that can be believed: the money may have moved. Ask under the same key, never under another."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Asked, the provider has committed nothing under this key."""


Answer = Done | Declined | NeedsPayer | TryLater | Unknown


class Provider(Protocol):
    """One provider of payments. Neither method raises for what the provider or the network does."""

    @property
    def name(self) -> str:
        """The provider's name in the ledger (`clearing:<name>`)."""
        ...

    async def perform(self, order: Order) -> Answer:
        """Send the order; safe to repeat with the same key and content."""
        ...

    async def find(self, order: Order) -> Answer | Absent:
        """Ask what became of the order, without repeating it."""
        ...


def payer_of(wallet: str) -> str:
    """The name by which a provider knows a wallet's owner: it tells neither address nor sender."""
    owner = wallet.removeprefix("wallet:")
    if owner.startswith("sender:"):
        return hashlib.sha256(owner.encode()).hexdigest()[:PAYER_LENGTH]
    return owner[:PAYER_LENGTH]  # a recipient's is a keyed hash already
