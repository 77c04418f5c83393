"""What follows when a wallet gets money: its owner's debt is paid, and mail that waited for the money goes on."""

from collections.abc import Mapping
from typing import Any

from serving.queue.store import ledger
from serving.queue.store.database import Row
from serving.queue.store.ledger import Posting
from serving.queue.store.transaction import Transaction
from serving.queue.values import as_json, from_json

_WALLET, _SENDER = "wallet:", "wallet:sender:"


def credited(transfer: Mapping[str, Any]) -> list[str]:
    """The wallets that a transfer puts money into."""
    amounts = {each["account"]: each["amount"] for each in transfer["postings"]}
    return [account for account, amount in amounts.items() if _is_credit(account, amount)]


def repay(transaction: Transaction, intent: Row, wallet: str, currency: str) -> None:
    """What the wallet's owner owes, as far as the money goes; the provider is to release it to us as any other price:
    the intent for that is opened here, in the same commit."""
    debt = f"debt:{wallet}"
    amount = min(-ledger.balance(transaction, debt), ledger.balance(transaction, wallet))
    if amount <= 0:
        return
    key = f"{intent['key']}:repaid"
    ledger.transfer(transaction, key, [Posting(wallet, -amount), Posting(debt, amount)], currency)
    payload = {"payer": from_json(intent["payload"]).get("payer", ""), "amount": amount, "currency": currency}
    transaction.run("insert_intent", key=key, verb="release", notification=None, payload=as_json(payload))


def void_card(transaction: Transaction, notification: int) -> None:
    """Where a provider was asked to hold or free a card for a notification that is given up: from now on these calls
    are nobody's, so that they are asked about without it, and a card that is held has an intent to free it."""
    for row in transaction.all("orphan_intents", notification=notification):
        transaction.event(notification, None, "orphaned", None, {"call": row["key"]})
    held = transaction.one("intent", key=f"{notification}:hold")
    key = f"{notification}:void"
    if held is None or held["state"] != "done" or transaction.one("intent", key=key) is not None:
        return
    payload = {**from_json(held["payload"]), "reference": from_json(held["outcome"]).get("reference", "")}
    transaction.run("insert_intent", key=key, verb="void", notification=None, payload=as_json(payload))


def wake_credited(transaction: Transaction, amounts: Mapping[str, int]) -> None:
    """Whoever waits for money of a wallet that got some."""
    for account, amount in amounts.items():
        if _is_credit(account, amount):
            wake(transaction, account)


def wake(transaction: Transaction, wallet: str) -> None:
    """Whatever is parked at a stage that takes from wallets, for want of this one's money."""
    for stage, place in transaction.topology.places.items():
        if _WALLET not in place.accounts:
            continue
        if wallet.startswith(_SENDER):
            principal = wallet.removeprefix(_SENDER)
            transaction.run("wake_leased_of_sender", principal=principal, stage=stage)
            _woken(transaction, transaction.all("wake_sender", principal=principal, stage=stage), stage, "paid")
        else:
            wake_recipient(transaction, _lookup(wallet), stage, "paid")


def wake_recipient(transaction: Transaction, lookup: bytes, stage: str, cause: str) -> int:
    """Wake what is parked there; whoever works on one now and is about to park it is told too."""
    transaction.run("wake_leased", lookup=lookup, stage=stage)
    return _woken(transaction, transaction.all("wake_recipient", lookup=lookup, stage=stage), stage, cause)


def _is_credit(account: str, amount: Any) -> bool:
    """Whether somebody's wallet gets money; what is no amount is refused where it is posted."""
    return account.startswith(_WALLET) and isinstance(amount, int) and amount > 0


def _lookup(wallet: str) -> bytes:
    """Whose wallet it is; nobody's for a name that is no recipient's, and nobody's mail waits."""
    try:
        return bytes.fromhex(wallet.removeprefix(_WALLET))
    except ValueError:
        return b""


def _woken(transaction: Transaction, rows: list[Row], stage: str, cause: str) -> int:
    for row in rows:
        transaction.event(row["id"], stage, "woken", stage, {"cause": cause})
        transaction.touched.add(stage)
    return len(rows)
