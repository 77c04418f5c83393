"""Recipients that nothing is sent to: a receiver said that the address does not exist, or an operator did."""

from typing import Any

from serving.queue.store.transaction import Transaction

Answer = dict[str, Any]


def suppress(transaction: Transaction, lookup: str, reason: str, seconds: float | None) -> Answer:
    """Send nothing there for so long, for ever with None; what holds for ever already stays."""
    until = None if seconds is None else transaction.now + seconds
    transaction.run("suppress", lookup=bytes.fromhex(lookup), reason=reason, until=until)
    return {"lookup": lookup, "until": until}


def unsuppress(transaction: Transaction, lookup: str) -> Answer:
    """Send there again; `removed` is false where nothing was in the way."""
    return {"removed": bool(transaction.run("unsuppress", lookup=bytes.fromhex(lookup)).rowcount)}
