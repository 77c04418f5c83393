"""Checks the ledger: derives every hash and balance anew, and names the first row that is not as it was written."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from serving.queue.store.database import Row
from serving.queue.store.ledger import FLOORED, GENESIS, link
from serving.queue.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Verdict:
    """`head` is the last hash in hexadecimal: kept elsewhere, it proves later that no transfer was cut off the end."""

    intact: bool
    transfers: int
    head: str
    fault: str | None = None


def verify(transaction: Transaction) -> Verdict:
    """Walk the whole chain; memory grows with the accounts, not with the transfers."""
    balances: Counter[str] = Counter()
    currencies: dict[str, str] = {}
    head, count = GENESIS, 0
    for count, rows in enumerate(_transfers(transaction), 1):
        fault = _fault(rows, count, head, balances, currencies)
        if fault is not None:
            return Verdict(False, count, head.hex(), f"transfer {count}: {fault}")
        head = rows[0]["hash"]
    fault = _account_fault(transaction.all("accounts"), balances, currencies)
    return Verdict(fault is None, count, head.hex(), fault)


def _transfers(transaction: Transaction) -> Iterator[list[Row]]:
    for _, rows in groupby(transaction.run("transfers"), key=lambda row: int(row["seq"])):
        yield list(rows)


def _fault(rows: list[Row], seq: int, head: bytes, balances: Counter[str], currencies: dict[str, str]) -> str | None:
    first = rows[0]
    if first["seq"] != seq:
        return "it is missing"
    amounts = {row["account"]: row["amount"] for row in rows if row["account"] is not None}
    content = head, seq, first["key"], first["notification"], first["currency"], first["at"], amounts
    # To accept both forms weakens nothing: nobody finds other content for a hash of either.
    if not any(first["hash"] == link(*content, is_older=older) for older in (False, True)):
        return "its hash does not follow from its content and the transfer before"
    if not amounts or sum(amounts.values()) != 0:
        return "its postings do not sum to zero"
    balances.update(amounts)
    if any(account.startswith(FLOORED) and balances[account] < 0 for account in amounts):
        return "it leaves an account below zero"
    if any(currencies.setdefault(account, first["currency"]) != first["currency"] for account in amounts):
        return "it is in another currency than its account"
    return None


def _account_fault(accounts: Iterable[Row], balances: Counter[str], currencies: dict[str, str]) -> str | None:
    stored = {row["account"]: (row["balance"], row["currency"]) for row in accounts}
    for account in sorted(stored.keys() | balances.keys()):
        balance, currency = stored.get(account, (None, None))
        if balance != balances[account]:
            return f"account {account}: its balance is not the sum of its postings"
        if currency != currencies.get(account, currency):
            return f"account {account}: its currency is not its postings'"
    return None
