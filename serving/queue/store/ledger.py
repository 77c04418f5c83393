"""The double-entry ledger: append-only, hash-chained, and never below zero where somebody's money lies."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from serving.errors import Refused
from serving.queue.limits import MAX_AMOUNT
from serving.queue.store.transaction import Transaction

FLOORED = ("wallet:", "hold:")
GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Posting:
    """`amount` minor units added to `account`; negative to take."""

    account: str
    amount: int


def transfer(
    transaction: Transaction, key: str, postings: Sequence[Posting], currency: str, notification: int | None = None
) -> bool:
    """Post a transfer once per `key`; False when it had been posted before.

    Refused `unbalanced` unless the postings sum to zero, `insufficient_funds` when a wallet or hold would fall below.
    """
    transaction.lock("lock_ledger")
    if transaction.one("find_transfer", key=key) is not None:
        return False
    amounts = _by_account(postings)
    if not amounts or sum(amounts.values()) != 0:
        raise Refused("unbalanced", "postings must sum to zero")
    for account, amount in sorted(amounts.items()):
        _add(transaction, account, amount, currency)
    _append(transaction, key, amounts, currency, notification)
    return True


def balance(transaction: Transaction, account: str) -> int:
    """The account's balance in minor units; 0 for one that was never used."""
    row = transaction.one("account", account=account)
    return 0 if row is None else int(row["balance"])


def link(
    previous: bytes,
    seq: int,
    key: str,
    notification: int | None,
    currency: str,
    at: float,
    amounts: dict[str, int],
    *,
    is_older: bool = False,
) -> bytes:
    """The hash of a transfer: SHA-256 over the hash before it and the transfer's canonical JSON.

    `is_older`: as it was written until November 2026, with the time cut to whole milliseconds.
    """
    fields = [seq, key, notification, currency, int(at * 1000) if is_older else at, sorted(amounts.items())]
    canonical = json.dumps(fields, separators=(",", ":"))
    return hashlib.sha256(previous + canonical.encode()).digest()


def _by_account(postings: Sequence[Posting]) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for posting in postings:
        if abs(posting.amount) > MAX_AMOUNT:
            raise Refused("too_large", "an amount over the limit")
        amounts[posting.account] = amounts.get(posting.account, 0) + posting.amount
    return {account: amount for account, amount in amounts.items() if amount}


def _add(transaction: Transaction, account: str, amount: int, currency: str) -> None:
    transaction.run("ensure_account", account=account, currency=currency)
    if amount < 0 and account.startswith(FLOORED) and balance(transaction, account) + amount < 0:
        raise Refused("insufficient_funds", "the account does not cover it")
    row = transaction.one("add_balance", account=account, amount=amount)
    if row is None or row["currency"] != currency:
        raise Refused("malformed", "the account is in another currency")


def _append(
    transaction: Transaction, key: str, amounts: dict[str, int], currency: str, notification: int | None
) -> None:
    head = transaction.one("chain_head")
    seq, previous = (1, GENESIS) if head is None else (head["seq"] + 1, head["hash"])
    digest = link(previous, seq, key, notification, currency, transaction.now, amounts)
    transaction.run("insert_transfer", seq=seq, key=key, notification=notification, currency=currency, hash=digest)
    for account, amount in amounts.items():
        transaction.run("insert_posting", transfer=seq, account=account, amount=amount)
