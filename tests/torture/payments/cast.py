"""Who gets how many notifications and pays how much: decided by the seed before anything runs."""

import hashlib
from collections import Counter
from dataclasses import dataclass

from serving.money import wallet_of
from serving.payment.provider import payer_of
from tests.torture.payments.world import PRICE, World

EACH = 3
"""Notifications for a recipient, on average."""
NOBODY, LATE = 0.02, 0.1
"""Shares of the recipients: who does not exist at the receiver, and who pays only when mail waits for it."""


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient, who pays `amount` minor units once: enough for all notifications, and some more."""

    address: str
    amount: int
    is_late: bool

    @property
    def lookup(self) -> bytes:
        """By which the queue knows the recipient."""
        return hashlib.sha256(self.address.encode()).digest()

    @property
    def wallet(self) -> str:
        """The recipient's account in our ledger."""
        return wallet_of(self.lookup)

    @property
    def payer(self) -> str:
        """By which the provider knows the recipient."""
        return payer_of(self.wallet)

    @property
    def key(self) -> str:
        """Of the one payment."""
        return f"top-up:{self.address}"

    @property
    def exists(self) -> bool:
        """Whether the receiver takes the recipient's mail."""
        return not self.address.startswith("nobody")


@dataclass(frozen=True, slots=True)
class Cast:
    """`recipients` names, for each notification in order, which of the `people` it is for."""

    people: tuple[Person, ...]
    recipients: tuple[int, ...]


def cast(world: World, count: int) -> Cast:
    """The cast of `count` notifications."""
    chance = world.chance("cast")
    size = max(count // EACH, 3)
    recipients = tuple(chance.randrange(size) for _ in range(count))
    wanted = Counter(recipients)
    order = chance.sample(range(size), size)
    nobody = set(order[: _share(size, NOBODY)])
    late = set(order[len(nobody) : len(nobody) + _share(size, LATE)])
    return Cast(
        tuple(
            Person(
                f"{'nobody' if number in nobody else 'person'}-{number}@torture.invalid",
                PRICE * wanted[number] + chance.randrange(1, 3 * PRICE),
                number in late,
            )
            for number in range(size)
        ),
        recipients,
    )


def _share(size: int, share: float) -> int:
    return max(1, round(size * share))
