"""What brings new notifications: `accept` for a sender's message, `bundle` for a digest of what was deferred."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serving.errors import Refused
from serving.queue.limits import check_recipient
from serving.queue.store.hops import NORMAL, URGENT
from serving.queue.store.transaction import Transaction, merged
from serving.queue.values import from_json

KEPT_EACH = 7 * 86_400.0
"""Seconds for which a key of each recipient is known."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """One body for N recipients; each is (32-octet lookup, sealed address). `key_each`: the key holds for each
    recipient by itself."""

    principal: str
    body: bytes
    recipients: Sequence[tuple[bytes, bytes]]
    key: str | None
    digest: bytes
    facts: Mapping[str, Any]
    priority: int
    key_each: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys as they are kept: none, the message's, or one a recipient."""
        if self.key is None:
            return ()
        return tuple(f"{self.key}:{lookup.hex()}" for lookup, _ in self.recipients) if self.key_each else (self.key,)


@dataclass(frozen=True, slots=True)
class Ids:
    """What a message became, in the recipients' order; `duplicate` when it had been accepted before."""

    message: int
    notifications: tuple[int, ...]
    duplicate: bool = False


def accept(transaction: Transaction, new: NewMessage) -> Ids:
    """Store the message and a notification a recipient; the same key and digest answer with the original ids."""
    if not new.recipients:
        raise Refused("malformed", "a message needs a recipient")
    if new.key is not None and new.key_each:
        return _accept_each(transaction, new)
    return insert_once(transaction, new, transaction.topology.entry, "accepted")


def _accept_each(transaction: Transaction, new: NewMessage) -> Ids:
    """A message for those recipients that are not known under the key; `duplicate` where all are."""
    lookups = [lookup for lookup, _ in new.recipients]
    if len(set(lookups)) < len(lookups):
        raise Refused("malformed", "a recipient is named twice")
    known = [_known_each(transaction, new, *pair) for pair in zip(new.keys, lookups, strict=True)]
    old = [found for found in known if found is not None]
    if len(old) == len(known):
        return Ids(old[0].message, tuple(id_ for found in old for id_ in found.notifications), duplicate=True)
    fresh = [person for person, found in zip(new.recipients, known, strict=True) if found is None]
    made = insert(transaction, replace(new, recipients=fresh), transaction.topology.entry, "accepted")
    left = iter(made.notifications)
    ids = []
    for key, found in zip(new.keys, known, strict=True):
        if found is None:
            transaction.add_key(new.principal, key, new.digest, made.message)
        ids.append(next(left) if found is None else found.notifications[0])
    return Ids(made.message, tuple(ids))


def _known_each(transaction: Transaction, new: NewMessage, key: str, lookup: bytes) -> Ids | None:
    """The message and the one notification that this recipient has under the key already."""
    row = transaction.find_key(new.principal, key)
    if row is None:
        return None
    if transaction.now - row["at"] >= KEPT_EACH:
        transaction.run("forget_key", principal=new.principal, key=key)
        return None
    if row["digest"] != new.digest:
        raise Refused("key_conflict", "the idempotency key came before, with other content")
    found = transaction.all("message_recipient", message=row["message"], recipient=lookup)
    return Ids(row["message"], tuple(each["id"] for each in found))


def bundle(transaction: Transaction, recipient: bytes, address: bytes, body: bytes, parents: Sequence[int]) -> Ids:
    """Make a digest of deferred notifications: a new one for the same recipient, with every parent bound to it.

    All or nothing: Refused `not_bundleable` when a parent is not due, has ended, or lies in another digest already.
    """
    if not parents:
        raise Refused("not_bundleable", "a digest needs a parent")
    check_recipient(recipient, address)
    topology = transaction.topology
    facts = {"waiver": "digest", "parents": len(parents)}
    ids = insert(
        transaction,
        NewMessage("", body, [(recipient, address)], None, b"", facts, NORMAL),
        topology.digest_entry,
        "bundles",
    )
    (via,) = ids.notifications
    for parent in parents:
        row = transaction.one("parent", id=parent, recipient=recipient, stage=topology.digest)
        if row is None:
            raise Refused("not_bundleable", "a parent is not due, has ended, or lies in another digest")
        facts_with_via = merged(row["facts"], {"via": str(via)})
        transaction.run("bundle_parent", id=parent, via=via, facts=facts_with_via)
        transaction.event(parent, topology.digest, "bundled", topology.digest, {"via": str(via)})
    return ids


def notice(
    transaction: Transaction,
    about: int,
    kind: str,
    recipient: bytes,
    address: bytes,
    body: bytes,
    *,
    is_open: bool,
    once: str = "",
) -> Ids:
    """A mail of our own about a notification (0: about none), once for each kind: `asked` goes to who pays, `expired`
    and `held` to who sent, `keyless` and `expiring` to who receives. The others are
    reports (RFC 3464) to who sent, by their action.

    Where it `is_open`, it may travel open to whom nothing can be sealed. With `once` (a day, say) it is sent once to
    this recipient, whatever it is about.
    """
    check_recipient(recipient, address)
    key = f"{recipient.hex()}:{kind}:{once}" if once else f"{about}:{kind}"
    facts = {"waiver": "notice", "notice": kind, "about": str(about), "open": is_open}
    priority = URGENT if kind == "asked" else NORMAL
    new = NewMessage("", body, [(recipient, address)], key, b"", facts, priority)
    return insert_once(transaction, new, transaction.topology.digest_entry, "notifies")


def insert_once(transaction: Transaction, new: NewMessage, stage: str, kind: str) -> Ids:
    """As `insert`; what was inserted under this key before answers with its ids."""
    known = _known(transaction, new)
    if known is not None:
        return known
    ids = insert(transaction, new, stage, kind)
    if new.key is not None:
        transaction.add_key(new.principal, new.key, new.digest, ids.message)
    return ids


def _known(transaction: Transaction, new: NewMessage) -> Ids | None:
    if new.key is None:
        return None
    row = transaction.find_key(new.principal, new.key)
    if row is None:
        return None
    if row["digest"] != new.digest:
        raise Refused("key_conflict", "the idempotency key came before, with other content")
    ids = tuple(found["id"] for found in transaction.all("message_notifications", message=row["message"]))
    return Ids(row["message"], ids, duplicate=True)


def insert(transaction: Transaction, new: NewMessage, stage: str, kind: str) -> Ids:
    """A new message with its notifications at that stage; each history begins with an event of that kind."""
    message = transaction.new_id()
    transaction.later("insert_message", id=message, principal=new.principal, body=new.body)
    facts = merged("{}", new.facts)
    ids = []
    for ordinal, (recipient, address) in enumerate(new.recipients):
        ids.append(transaction.new_id())
        transaction.later(
            "insert_notification",
            id=ids[-1],
            message=message,
            ordinal=ordinal,
            recipient=recipient,
            address=address,
            stage=stage,
            priority=new.priority,
            facts=facts,
        )
        transaction.event(ids[-1], None, kind, stage, from_json(facts))
    transaction.touched.add(stage)
    return Ids(message, tuple(ids))
