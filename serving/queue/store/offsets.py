"""A recipient's own urgent threshold: how far each reaction has moved it, in log-odds.

The rule is Gmail Priority Inbox's (Aberdeen, Pacovsky, Slater 2010): one model for all, one threshold for each, moved
at once by a step when its user corrects a decision. Missing an alarm costs more than a needless one, so "was urgent"
moves twice as far as "not urgent"; an acknowledgement confirms, and moves little. No reactions lead beyond `LIMIT`.
"""

from collections.abc import Mapping

from serving.queue.store.transaction import Transaction

STEPS: Mapping[str, float] = {"was_urgent": -0.5, "not_urgent": 0.25, "acknowledged": -0.05}
LIMIT = 2.0


def correct(transaction: Transaction, recipient: bytes, reaction: str) -> None:
    """Move the threshold's log-odds by the reaction's step; the caller counts each reaction once."""
    transaction.run("move_offset", recipient=recipient, step=STEPS[reaction], limit=LIMIT)


def reset(transaction: Transaction, recipient: bytes) -> bool:
    """Back to everybody's threshold; whether there was anything to forget."""
    return transaction.run("delete_offset", recipient=recipient).rowcount == 1
