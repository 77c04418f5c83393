"""What is forgotten after a time: bodies of messages that have ended for every recipient, and idempotency keys, which
are kept for a week at least.

Histories, the ledger and counters stay: they hold neither content nor addresses in the clear.
"""

from serving.queue.store.intake import KEPT_EACH
from serving.queue.store.transaction import Transaction, earliest

_AT_ONCE = 200


def forget(transaction: Transaction, age: float) -> bool:
    """Forget some of what is older than `age` seconds; whether there may be more. Few at a time: mail is waiting."""
    before = transaction.now - age
    bodies = transaction.all("forget_bodies", before=earliest(before), count=_AT_ONCE)
    keys = transaction.run("forget_keys", before=min(before, transaction.now - KEPT_EACH), count=_AT_ONCE).rowcount
    return len(bodies) == _AT_ONCE or keys == _AT_ONCE
