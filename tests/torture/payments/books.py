"""The three books of a run, each read by itself: the receiver's, the provider's, and our ledger."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.queue.client import Client
from tests.torture.payments.cast import Cast

TOGETHER = 100
"""Notifications that the broker is asked about at the same time."""


@dataclass(slots=True)
class Arrivals:
    """The receiver's: how often it took each notification's mail, and how often it answered 250 for it."""

    taken: Counter[int] = field(default_factory=Counter)
    answered: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Journal:
    """The provider's: what it charged and keeps for each payer, and how often it released for each notification."""

    charged: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    releases: Counter[int] = field(default_factory=Counter)
    released: int = 0
    operations: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger and the history say of one notification. `has_receipt`: we read the receiver's 250."""

    id: int
    recipient: int
    state: str
    has_receipt: bool
    captures: int
    held: int


@dataclass(slots=True)
class Ledger:
    """Ours, as the broker tells it: balances in minor units, `wallets` by recipient."""

    entries: list[Entry]
    wallets: list[int]
    clearing: int
    revenue: int
    intact: bool
    fault: str | None


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file of JSON lines, none where there is no file; one that a kill cut short was never answered."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def read_arrivals(path: Path) -> Arrivals:
    """The receiver's book."""
    arrivals = Arrivals()
    for line in lines(path):
        arrivals.taken[line["id"]] += 1
        arrivals.answered[line["id"]] += line["answered"]
    return arrivals


def read_journal(path: Path) -> Journal:
    """The provider's book. A release is for the notification that its key begins with, whatever else the key says."""
    journal = Journal()
    for operation in lines(path):
        amount, payer = operation["amount"], operation["payer"]
        journal.operations += 1
        match operation["verb"]:
            case "charge":
                journal.charged[payer] += amount
                journal.kept[payer] += amount
            case "release":
                journal.releases[int(operation["key"].partition(":")[0])] += 1
                journal.released += amount
                journal.kept[payer] -= amount
            case other:
                raise ValueError(f"nobody asked the provider for a {other}")
    return journal


async def read_ledger(client: Client, cast: Cast, accepted: Mapping[int, int]) -> Ledger:
    """Our own book, read through the broker."""
    verdict = await client.execute("verify_ledger")
    wallets = [await _balance(client, person.wallet) for person in cast.people]
    return Ledger(
        entries=[entry async for entry in _entries(client, accepted)],
        wallets=wallets,
        clearing=await _balance(client, "clearing:sandbox"),
        revenue=await _balance(client, "revenue"),
        intact=verdict["intact"],
        fault=verdict["fault"],
    )


async def _entries(client: Client, accepted: Mapping[int, int]) -> AsyncIterator[Entry]:
    ids = list(accepted)
    for start in range(0, len(ids), TOGETHER):
        group = ids[start : start + TOGETHER]
        for entry in await asyncio.gather(*(_entry(client, id_, accepted[id_]) for id_ in group)):
            yield entry


async def _entry(client: Client, id_: int, recipient: int) -> Entry:
    (row,) = await client.query("notification", id=str(id_))
    postings = await client.query("postings", notification=str(id_))
    return Entry(
        id=id_,
        recipient=recipient,
        state=row["state"],
        has_receipt="receipt" in row["facts"],
        captures=sum(1 for posting in postings if posting["account"] == "revenue"),
        held=sum(posting["amount"] for posting in postings if posting["account"] == f"hold:{id_}"),
    )


async def _balance(client: Client, account: str) -> int:
    rows = await client.query("balance", account=account)
    return int(rows[0]["balance"]) if rows else 0
