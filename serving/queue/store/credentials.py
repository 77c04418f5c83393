"""Commands for who may send: senders, and the keys or subjects that they are known by. A key comes as its digest."""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.errors import Refused
from serving.queue.store.transaction import Transaction
from serving.queue.values import as_json

Answer = dict[str, Any]


def enroll_principal(
    transaction: Transaction,
    id: str,
    name: str,
    domains: Sequence[str],
    policy: Mapping[str, Any],
    key_hash: str | None = None,
    subject: str | None = None,
) -> Answer:
    """Register a sender, or change one: the From domains that it may use, its policy, and what it is known by.

    A new key or subject takes the place of all that the sender had; with neither of them those stay. A subject that
    another sender is known by is refused as `key_conflict`.
    """
    if not id:
        raise Refused("malformed", "the empty name is reserved for digests")
    transaction.run("insert_principal", id=id, name=name, policy=as_json(policy))
    transaction.run("delete_domains", principal=id)
    for domain in domains:
        transaction.run("insert_domain", domain=domain, principal=id)
    stated = {"key": key_hash, "subject": subject}
    if any(stated.values()):
        transaction.run("end_credentials", principal=id)
    for kind, credential in stated.items():
        if credential is not None:
            _add(transaction, id, kind, credential)
    return {"id": id}


def rotate_key(transaction: Transaction, id: str, key_hash: str, overlap: float) -> Answer:
    """Give a sender a new key; the ones that it has are good for `overlap` seconds more, or until they end anyway."""
    until = transaction.now + max(float(overlap), 0.0)
    if transaction.one("end_keys", principal=id, until=until) is None:
        raise Refused("not_found", "no sender of this id has an API key, or it is revoked")
    _add(transaction, id, "key", key_hash)
    return {"id": id, "until": until}


def revoke_principal(transaction: Transaction, id: str) -> Answer:
    """Take a sender's right to send, and whatever it was known by."""
    if transaction.one("revoke_principal", id=id) is None:
        raise Refused("not_found", "no such principal")
    transaction.run("end_credentials", principal=id)
    transaction.run("give_up_webhooks", principal=id, reply="the sender is revoked")
    return {"id": id}


def note_use(transaction: Transaction, uses: Sequence[tuple[str, str, float]]) -> Answer:
    """Write down when credentials were last used: kind, name and seconds since the epoch of each."""
    for kind, name, at in uses:
        transaction.run("use_credential", kind=kind, name=name, at=float(at))
    return {"count": len(uses)}


def _add(transaction: Transaction, principal: str, kind: str, name: str) -> None:
    if transaction.one("insert_credential", kind=kind, name=name, principal=principal) is None:
        raise Refused("key_conflict", f"a sender is known by this {kind} already")
