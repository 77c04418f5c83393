"""Claiming work and moving it on. Every function is a verb: it runs inside one transaction of the committer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from serving.errors import Refused
from serving.queue.held import ANY_SIZE
from serving.queue.store import history, ledger, wallets, watches, webhooks
from serving.queue.store.database import Row
from serving.queue.store.ledger import Posting
from serving.queue.store.transaction import Transaction, merged
from serving.queue.topology import Edge, Place
from serving.queue.values import from_json

URGENT, NORMAL = 0, 1
GIVEN_UP = {
    "died": "5.3.0 not sent, it failed here and was given up",
    "killed": "5.7.0 not sent, an operator gave it up",
    "digest": "5.0.0 the digest that it was part of was not delivered",
}
"""What senders are told of mail that dies elsewhere than at delivery, which tells in the receiver's words."""


class LeaseName(NamedTuple):
    """A lease: the notification, its fence, and the process that holds it (`owner`, "pid:start time")."""

    id: int
    fence: int
    owner: str


@dataclass(slots=True)
class Pending:
    """What a hop collects before `complete` applies it."""

    facts: dict[str, Any] = field(default_factory=dict)
    envelope: bytes | None = None
    postings: list[Posting] = field(default_factory=list)
    seen: list[history.Increment] = field(default_factory=list)
    reaction: bytes = b""
    currency: str = ""
    octets: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """A lease as handed out, with the body its stage works on."""

    row: Row
    principal: str
    body: bytes


def claim(
    transaction: Transaction,
    stage: str,
    count: int,
    owner: str,
    visibility: float,
    normal_first: bool = False,
    octets: int = ANY_SIZE,
) -> list[Claimed]:
    """Lease up to `count` due notifications of the stage for `visibility` seconds, urgent ones first as a rule; no
    more of them once their bodies have `octets`."""
    claimed: list[Row] = []
    for priority in (NORMAL, URGENT) if normal_first else (URGENT, NORMAL):
        left = octets - sum(len(row["body"] or b"") for row in claimed)
        if len(claimed) < count and left > 0:
            rows = transaction.all(
                "claim",
                stage=stage,
                priority=priority,
                count=count - len(claimed),
                octets=left,
                owner=owner,
                until=transaction.now + visibility,
                what=transaction.topology.places[stage].body,
            )
            claimed += sorted(rows, key=lambda row: int(row["id"]))
    return [Claimed(row, row["principal"] or "", row["body"] or b"") for row in claimed]


def complete(transaction: Transaction, name: LeaseName, outcome: str, pending: Pending, until: float | None) -> None:
    """Apply what was collected and follow the outcome's edge; Refused, and nothing changed, when a check fails."""
    row = leased(transaction, name)
    stage = row["stage"]
    place = transaction.topology.places[stage]
    edge = place.edges.get(outcome)
    if edge is None:
        raise Refused("edge_forbidden", f"{stage} has no such outcome")
    if edge.kind == "deferred" and until is None:
        raise Refused("incomplete", "what is deferred needs a time")
    facts = merged(row["facts"], pending.facts)
    _post(transaction, name.id, stage, outcome, place, pending)
    seen = [] if row["is_seen"] else pending.seen
    if seen:
        transaction.later("insert_counted", id=name.id, kind="seen")
        transaction.later("set_reaction", id=name.id, reaction=pending.reaction)
    if pending.envelope is not None:
        transaction.later("insert_envelope", id=name.id, body=pending.envelope)
    if edge.kind == "stage" and transaction.topology.places[edge.to].requires:
        has_envelope = pending.envelope is not None or bool(row["has_envelope"])
        _require(transaction, name.id, transaction.topology.places[edge.to], from_json(facts), has_envelope)
    _move(transaction, row, edge, facts, until)
    transaction.event(name.id, stage, outcome, edge.to, pending.facts)
    watches.tell(transaction, row, outcome, pending.facts)
    if seen or (place.analyses and not _is_analysed(transaction, edge)):
        history.ripen(transaction, row["message"], seen)
    if edge.kind == "end":
        _end(transaction, row, edge.to, outcome)


def note(transaction: Transaction, name: LeaseName, kind: str, facts: Mapping[str, Any]) -> None:
    """Write down what is about to happen; the lease goes on."""
    row = leased(transaction, name)
    if facts:
        transaction.later("note", id=name.id, facts=merged(row["facts"], facts))
    transaction.event(name.id, row["stage"], kind, None, facts)


def retry(transaction: Transaction, name: LeaseName, delay: float, cause: str) -> None:
    """Give the lease back; not claimable for `delay` seconds. Without a cause the history says nothing of it."""
    row = leased(transaction, name)
    transaction.run("retry", id=name.id, available_at=transaction.now + delay)
    if cause:
        transaction.event(name.id, row["stage"], "retried", row["stage"], {"cause": cause, "delay": delay})
    transaction.touched.add(row["stage"])


def dead(transaction: Transaction, name: LeaseName, cause: str) -> None:
    """Give the notification up; what was held for it goes back to whoever paid in the same transaction."""
    bury(transaction, leased(transaction, name), "died", cause)


def bury(transaction: Transaction, row: Row, kind: str, cause: str) -> None:
    """The end as a dead letter, by an event of that kind; Refused `incomplete` for what was delivered."""
    if "receipt" in from_json(row["facts"]):
        raise Refused("incomplete", "the receiver has it; it is settled, not given up")
    _give_back(transaction, row)
    _move(transaction, row, Edge("end", "dead"), row["facts"], None)
    transaction.event(row["id"], row["stage"], kind, "dead", {"cause": cause})
    watches.given_up(transaction, row)
    _tell_sender(transaction, row["id"], kind)
    if transaction.topology.places[row["stage"]].analyses:
        history.ripen(transaction, row["message"])
    _end(transaction, row, "dead", kind)


def extend(transaction: Transaction, name: LeaseName, visibility: float) -> None:
    """`visibility` more seconds from now."""
    leased(transaction, name)
    transaction.run("extend", id=name.id, until=transaction.now + visibility)


def release_others(transaction: Transaction, owner: str, stage: str, keep: set[int]) -> None:
    """Return the leases of a stage that a process does not know of: they were lost on the way to it."""
    rows = transaction.all("leases_of", owner=owner, stage=stage)
    release_leases(transaction, [(row["id"], row["fence"]) for row in rows if row["id"] not in keep])


def release_leases(transaction: Transaction, leases: Sequence[tuple[int, int]]) -> None:
    """Return these leases, each an id and its fence, where they still hold."""
    for id_, fence in leases:
        rows = transaction.all("release_lease", id=id_, fence=fence)
        transaction.touched.update(row["stage"] for row in rows)


def release(transaction: Transaction, owner: str) -> None:
    """Return all leases of a process that is gone."""
    transaction.touched.update(row["stage"] for row in transaction.all("release_owner", owner=owner))


def release_expired(transaction: Transaction) -> list[Row]:
    """Return leases whose time is over."""
    rows = transaction.all("release_expired")
    transaction.touched.update(row["stage"] for row in rows)
    return rows


def leased(transaction: Transaction, name: LeaseName) -> Row:
    """The row behind a lease; Refused `lease_lost` when the lease is over or somebody else's."""
    row = transaction.leased(*name)
    if row is None:
        raise Refused("lease_lost", "the lease is over or belongs to another process")
    return row


def _post(transaction: Transaction, id_: int, stage: str, outcome: str, place: Place, pending: Pending) -> None:
    if not pending.postings:
        return
    if not all(posting.account.startswith(place.accounts) for posting in pending.postings):
        raise Refused("denied", f"{stage} may not post to this account")
    transaction.guard()
    wallets.wake_credited(transaction, {posting.account: posting.amount for posting in pending.postings})
    ledger.transfer(transaction, f"{id_}:{outcome}", pending.postings, pending.currency, id_)


def _require(transaction: Transaction, id_: int, place: Place, facts: Mapping[str, Any], has_envelope: bool) -> None:
    """Money and envelope are checked where they lie, not only where a fact claims them."""
    for requirement in place.requires:
        if requirement == "envelope":
            met = has_envelope and "envelope" in facts
        elif requirement == "payment":
            met = bool(facts.get("waiver")) or ledger.balance(transaction, f"hold:{id_}") > 0
        else:
            met = requirement in facts
        if not met:
            raise Refused("incomplete", f"the next stage requires {requirement}")


def _give_back(transaction: Transaction, row: Row) -> None:
    wallets.void_card(transaction, row["id"])
    account = f"hold:{row['id']}"
    held = transaction.one("account", account=account)
    if held is None or not held["balance"]:
        return
    payer = from_json(row["facts"]).get("hold", {}).get("account") or f"wallet:{bytes(row['recipient']).hex()}"
    payer = "advances" if payer.startswith("debt:") else payer  # nothing is owed for what was not delivered
    back = [Posting(account, -held["balance"]), Posting(payer, held["balance"])]
    wallets.wake_credited(transaction, {posting.account: posting.amount for posting in back})
    ledger.transfer(transaction, f"{row['id']}:returned", back, held["currency"], row["id"])


def _move(transaction: Transaction, row: Row, edge: Edge, facts: str, until: float | None) -> None:
    states = {"stage": "queued", "parked": "parked", "deferred": "deferred", "end": edge.to}
    if edge.kind == "parked" and row["woken"]:  # what it is to wait for came while it was worked on
        edge, until = Edge("stage", edge.to, edge.urgent), None
    at_once = edge.kind == "stage" and until is None
    priority = row["priority"] if edge.urgent is None else (URGENT if edge.urgent else NORMAL)
    transaction.later(
        "move",
        id=row["id"],
        stage=None if edge.kind == "end" else edge.to,
        state=states[edge.kind],
        priority=priority,
        at_once=at_once,
        until=until,
        facts=facts,
    )
    if edge.kind == "stage":
        transaction.touched.add(edge.to)


def _is_analysed(transaction: Transaction, edge: Edge) -> bool:
    """Whether it still is, where the edge leads: then its message waits for it, and nobody needs to look."""
    return edge.kind != "end" and transaction.topology.places[edge.to].analyses


def _end(transaction: Transaction, row: Row, state: str, reason: str) -> None:
    """An end takes the outgoing mail with it, its sender is told, and a digest's end is its parents'."""
    transaction.later("delete_envelope", id=row["id"])
    webhooks.tell(transaction, row["id"], state, reason)
    watches.ended(transaction, row)
    parents = "delivered" if state == "delivered" else "dead"
    for child in transaction.all("children_of_digest", via=row["id"]) if row["is_digest"] else ():
        transaction.run("end_parent", id=child["id"], state=parents)
        transaction.later("delete_envelope", id=child["id"])
        transaction.event(child["id"], transaction.topology.digest, parents, parents, {"via": str(row["id"])})
        webhooks.tell(transaction, child["id"], parents, "digest")
        if parents == "dead":
            _tell_sender(transaction, child["id"], "digest")


def _tell_sender(transaction: Transaction, id_: int, how: str) -> None:
    """By a report that it failed, which somebody writes who can open the message and knows whether its sender has
    proven who it is."""
    transaction.run("insert_bounce", id=id_, action="failed", reply=GIVEN_UP[how], is_told=0)
