"""Who takes part in a demo: the sample mailbox's cast, or one made for whatever mailbox was given."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.schema import Message
from serving.addresses import canonical_address, canonical_domain, domain_of

SAMPLE = Path(__file__).resolve().parent.parent.parent / "data" / "sample"
TENTH = 10
WITHOUT_FUNDS, WITHOUT_KEY = 3, 7
"""Of every ten recipients of a real mailbox, which one has no money and which one no key."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A system with an API key that is good for its From domains."""

    id: str
    name: str
    domains: tuple[str, ...]
    relays: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient. `balance` is minor units in the wallet at the start."""

    address: str
    name: str
    has_key: bool
    balance: int
    wishes: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody. `relay` submits what no sender owns."""

    senders: tuple[Sender, ...]
    people: tuple[Person, ...]
    relay: str

    def submitter(self, message: Message) -> str:
        """The id of the sender whose API key submits this mail."""
        relay = next(sender for sender in self.senders if sender.id == self.relay)
        if message.message_id in relay.relays:
            return self.relay
        domain = domain_of(message.sender)
        owner = next((sender.id for sender in self.senders if domain in sender.domains), None)
        return owner or self.relay


def sample_cast() -> Cast:
    """The cast of the mailbox that the repository ships."""
    tree = tomllib.loads((SAMPLE / "cast.toml").read_text(encoding="utf-8"))
    senders = tuple(
        Sender(each["id"], each["name"], tuple(each["domains"]), frozenset(each.get("relays", ())))
        for each in tree["senders"]
    )
    people = tuple(
        Person(each["address"], each["name"], each["key"], each["balance"], each["wishes"], each["policy"])
        for each in tree["recipients"]
    )
    return Cast(senders, people, tree["relay"])


def cast_of(messages: Sequence[Message], price: int) -> Cast:
    """A cast for a real mailbox: one system that relays for all its From domains, and every recipient found.

    Wallets hold enough for all their mail, but for every tenth, which is empty; every other tenth has no key.
    """
    domains = sorted({domain for message in messages if (domain := domain_of(message.sender))})
    relay = Sender("mailbox", "The mailbox's own relay", tuple(filter(canonical_domain, domains)))
    mails = Counter(address for message in messages for address in _recipients(message))
    people = tuple(
        _person(number, address, count * price) for number, (address, count) in enumerate(sorted(mails.items()))
    )
    return Cast((relay,), people, relay.id)


def _person(number: int, address: str, enough: int) -> Person:
    has_funds, has_key = number % TENTH != WITHOUT_FUNDS, number % TENTH != WITHOUT_KEY
    return Person(address, address.partition("@")[0], has_key, enough if has_funds else 0)


def _recipients(message: Message) -> Iterable[str]:
    return {canonical_address(address) for address in (*message.to, *message.cc)}
