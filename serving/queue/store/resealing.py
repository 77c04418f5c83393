"""What lies under an old sealing key: how much there is, which blobs, and what takes their place. Octets stay opaque.

A sealed blob begins with the id of its key (4 octets) and the public key that was made for this one sealing (32). No
two sealings have those in common, so they tell whether a row still holds what was read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.errors import Refused
from serving.queue.store import resealing_facts, resealing_wishes
from serving.queue.store.resealing_facts import HEAD
from serving.queue.store.transaction import Transaction
from serving.queue.values import identifier

Rows = list[dict[str, Any]]

SEALED = ("body", "address", "recipient", "certificate", "envelope", "escalation")
"""Messages' bodies, notifications' addresses, recipients' addresses, certificates and chains, and outgoing mail."""
RESULTS = "results"
"""A fact; see `resealing_facts`."""
LISTS = "lists"
"""A wish; see `resealing_wishes`."""
KINDS = (*SEALED, RESULTS, LISTS)
_BY_LOOKUP = frozenset({"recipient", "certificate", "escalation", LISTS})
_MOST, _MOST_OCTETS = 1_000, 8 << 20


def sealed_counts(transaction: Transaction) -> Rows:
    """How many blobs of each kind (`what`) lie under each key, by its id."""
    rows = transaction.all("sealed_counts")
    columns = [{"what": row["what"], "key": bytes(row["key"]).hex(), "count": row["count"]} for row in rows]
    texts = {RESULTS: resealing_facts.counts(transaction), LISTS: resealing_wishes.counts(transaction)}
    return columns + [
        {"what": what, "key": key, "count": count} for what, found in texts.items() for key, count in found.items()
    ]


def sealed_page(
    transaction: Transaction, what: str, current: str, after: str = "", count: int = 200, octets: int = 1 << 20
) -> Rows:
    """Blobs under another key than `current`, in the order of their rows, from behind the row `after` on: at most
    `count`, and none once there are `octets` of them (at most 1,000, and 8 MiB)."""
    if what == RESULTS:
        row = identifier(after) if after else -1
        return resealing_facts.page(transaction, bytes.fromhex(current), row, min(count, _MOST))
    if what == LISTS:
        return resealing_wishes.page(transaction, bytes.fromhex(current), bytes.fromhex(after), min(count, _MOST))
    rows = transaction.all(
        f"sealed_{_kind(what)}",
        key=bytes.fromhex(current),
        after=_row(what, after) if after else _before_all(what),
        count=min(count, _MOST),
        octets=min(octets, _MOST_OCTETS),
    )
    return [{"id": _name(row["id"]), "sealed": bytes(row["sealed"]).hex()} for row in rows]


def reseal(transaction: Transaction, what: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Put each blob (`sealed`) in the place of the one that begins with `head` (36 octets), where that still stands and
    both are of one length; answers how many were `replaced`."""
    _kind(what)
    replaced = 0
    for row in rows:
        head, sealed = bytes.fromhex(row["head"]), bytes.fromhex(row["sealed"])
        if len(head) != HEAD or len(sealed) < HEAD:
            raise Refused("malformed", f"a sealed blob begins with {HEAD} octets of its own")
        replaced += _replace(transaction, what, row["id"], head, sealed)
    return {"replaced": replaced}


def _replace(transaction: Transaction, what: str, row: str, head: bytes, sealed: bytes) -> int:
    if what == RESULTS:
        return resealing_facts.replace(transaction, identifier(row), head, sealed)
    if what == LISTS:
        return resealing_wishes.replace(transaction, bytes.fromhex(row), head, sealed)
    return transaction.run(f"reseal_{_kind(what)}", id=_row(what, row), head=head, sealed=sealed).rowcount


def _kind(what: str) -> str:
    if what not in KINDS:
        raise Refused("malformed", f"what is sealed is one of {', '.join(KINDS)}")
    return what


def _row(what: str, name: str) -> int | bytes:
    return bytes.fromhex(name) if what in _BY_LOOKUP else identifier(name)


def _before_all(what: str) -> int | bytes:
    return b"" if what in _BY_LOOKUP else -1


def _name(id_: int | bytes) -> str:
    return str(id_) if isinstance(id_, int) else bytes(id_).hex()
