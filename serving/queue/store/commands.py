"""Commands of the directory: each is one transaction and answers with one row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serving.errors import Refused
from serving.queue.store import (
    answers,
    credentials,
    escalations,
    history,
    intake,
    ledger,
    offsets,
    operators,
    reports,
    resealing,
    suppression,
    wallets,
    watches,
    webhooks,
)
from serving.queue.store.ledger import Posting
from serving.queue.store.transaction import Transaction
from serving.queue.values import as_json, from_json, identifier

Answer = dict[str, Any]
REACTIONS = frozenset(offsets.STEPS)
ACTED = frozenset({"acknowledged", "was_urgent"})


def enroll_recipient(
    transaction: Transaction,
    lookup: str,
    address: str,
    certificate: str | None,
    wishes: Mapping[str, Any],
    policy: Mapping[str, Any],
) -> Answer:
    """Register a recipient, or change one; mail that was held for want of a key goes on."""
    sealed = None if certificate is None else bytes.fromhex(certificate)
    transaction.run(
        "insert_recipient",
        lookup=bytes.fromhex(lookup),
        address=bytes.fromhex(address),
        certificate=sealed,
        wishes=as_json(wishes),
        policy=as_json(policy),
    )
    woken = wallets.wake_recipient(transaction, bytes.fromhex(lookup), transaction.topology.digest_entry, "enrolled")
    return {"lookup": lookup, "woken": woken}


def change_certificate(transaction: Transaction, lookup: str, certificate: str | None, held: str | None) -> Answer:
    """Give an enrolled recipient this sealed certificate in place of `held`; nothing changes where another one is there
    meanwhile. Mail that was held for want of a key goes on."""
    row = transaction.one("recipient", lookup=bytes.fromhex(lookup))
    before = None if row is None or row["certificate"] is None else bytes(row["certificate"]).hex()
    if row is None or before != held:
        return {"changed": False}
    enroll_recipient(
        transaction,
        lookup,
        bytes(row["address"]).hex(),
        certificate,
        from_json(row["wishes"]),
        from_json(row["policy"]),
    )
    return {"changed": True}


def change_wishes(transaction: Transaction, lookup: str, wishes: Mapping[str, Any], held: Mapping[str, Any]) -> Answer:
    """Give an enrolled recipient these wishes in place of `held`; nothing changes where others are there meanwhile."""
    row = transaction.one("recipient", lookup=bytes.fromhex(lookup))
    if row is None or from_json(row["wishes"]) != held:
        return {"changed": False}
    after = transaction.run("change_wishes", lookup=bytes.fromhex(lookup), wishes=as_json(wishes), before=row["wishes"])
    return {"changed": after.rowcount == 1}


def react(transaction: Transaction, id: str, kind: str, at: float) -> Answer:
    """Store what the recipient did, once: it moves the recipient's threshold, and "acted" also grows the history."""
    if kind not in REACTIONS:
        raise Refused("malformed", f"a reaction is one of {', '.join(sorted(REACTIONS))}")
    row = transaction.one("reaction_keys", id=identifier(id))
    if row is None:
        raise Refused("not_found", "no such notification")
    fresh = transaction.run("insert_reaction", id=identifier(id), kind=kind, at=at).rowcount == 1
    if fresh:
        transaction.event(identifier(id), None, kind, None, {"at": at})
    if fresh and row["reaction"]:  # only a decision of the classifier can be corrected
        offsets.correct(transaction, bytes(row["recipient"]), kind)
    if fresh and kind in ACTED:
        history.react(transaction, identifier(id), at)
        watches.acknowledged(transaction, identifier(id), kind, at)
    return {"id": id, "fresh": fresh}


def answer(transaction: Transaction, id: str, recipient: str, address: str, body: str, digest: str) -> Answer:
    """Take what the recipient of a notification has answered, once for each `digest`; see `answers`. Whoever answers
    has acted: it counts as `acknowledged`."""
    number = identifier(id)
    octets = (bytes.fromhex(text) for text in (recipient, address, body, digest))
    state = answers.keep(transaction, number, *octets)
    if state == "kept":
        react(transaction, id, "acknowledged", transaction.now)
    return {"id": id, "state": state}


def reset_offset(transaction: Transaction, recipient: str) -> Answer:
    """Forget what a recipient's reactions did to the urgent threshold; `forgotten` is false where there was nothing."""
    return {"forgotten": offsets.reset(transaction, bytes.fromhex(recipient))}


def open_intent(
    transaction: Transaction,
    key: str,
    verb: str,
    notification: str | None,
    payload: Mapping[str, Any],
    reserve: Mapping[str, Any] | None = None,
    accounts: Sequence[str] = (),
) -> Answer:
    """Write down a provider call before it is made; for a key that was opened before, how that one stands.

    `reserve` is a transfer that belongs to the beginning: what the call will pay out must not be spent meanwhile.
    `accounts` will be posted to at the end: Refused `malformed` now where one is in another currency than the payload.
    """
    row = transaction.one("intent", key=key)
    if row is not None:
        outcome = None if row["outcome"] is None else from_json(row["outcome"])
        return {"state": row["state"], "outcome": outcome, "reference": from_json(row["payload"]).get("reference")}
    if accounts or reserve:
        transaction.lock("lock_ledger")
    for account in accounts:
        known = transaction.one("account", account=account)
        if known is not None and known["currency"] != payload.get("currency"):
            raise Refused("malformed", "an account is in another currency; see CLARION_CURRENCY")
    of = None if notification is None else identifier(notification)
    transaction.run("insert_intent", key=key, verb=verb, notification=of, payload=as_json(payload))
    if reserve is not None:
        _post(transaction, reserve, of)
    return {"state": "opened", "outcome": None, "reference": None}


def remember_intent(transaction: Transaction, key: str, reference: str) -> Answer:
    """Write down the provider's own name for what an open intent began; it is asked by that name from now on."""
    row = transaction.one("intent", key=key)
    if row is None or row["state"] != "open":
        raise Refused("not_found", "no such intent is open")
    payload = {**from_json(row["payload"]), "reference": reference}
    transaction.run("update_intent", key=key, payload=as_json(payload))
    return {"reference": reference}


def close_intent(
    transaction: Transaction,
    key: str,
    state: str,
    outcome: Mapping[str, Any],
    transfer: Mapping[str, Any] | None = None,
) -> Answer:
    """Write down how a provider call ended, with the money that it moved: whoever got some pays what they owe first,
    and their mail that waits for money goes on."""
    row = transaction.one("intent", key=key)
    if row is None:
        raise Refused("not_found", "no such intent; open it first")
    if row["state"] != "open":
        return {"state": row["state"], "posted": False}
    transaction.run("close_intent", key=key, state=state, outcome=as_json(outcome))
    credited = wallets.credited(transfer) if transfer is not None else []
    for wallet in credited:  # rows before the ledger, as every hop locks them
        wallets.wake(transaction, wallet)
    posted = transfer is not None and _post(transaction, transfer, row["notification"])
    if posted and transfer is not None:
        for wallet in credited:
            wallets.repay(transaction, row, wallet, transfer["currency"])
    return {"state": state, "posted": posted}


def grant_allowance(transaction: Transaction, account: str, count: int) -> Answer:
    """The free notifications of a recipient's month, once for each."""
    if not account.startswith("wallet:free:"):
        raise Refused("malformed", "that account counts no free notifications")
    postings = [Posting("allowances", -_integer(count)), Posting(account, _integer(count))]
    return {"granted": ledger.transfer(transaction, account, postings, "FREE")}


def write_notice(
    transaction: Transaction,
    about: str,
    kind: str,
    recipient: str,
    address: str,
    body: str,
    is_open: bool,
    once: str = "",
) -> Answer:
    """Send a mail of our own about a notification; the same again for one that was sent, to this recipient with this
    `once` where it is given."""
    octets = (bytes.fromhex(text) for text in (recipient, address, body))
    ids = intake.notice(transaction, identifier(about), kind, *octets, is_open=is_open, once=once)
    return {"id": str(ids.notifications[0])}


def bundle(
    transaction: Transaction, recipient: str, address: str, body: str, parents: Sequence[str], at: float
) -> Answer:
    """Make a digest of the parents; see `intake.bundle`."""
    del at  # the store's own time counts
    ids = intake.bundle(
        transaction,
        bytes.fromhex(recipient),
        bytes.fromhex(address),
        bytes.fromhex(body),
        [identifier(id_) for id_ in parents],
    )
    return {"via": str(ids.notifications[0])}


COMMANDS: Mapping[str, Callable[..., Answer]] = {
    command.__name__: command
    for command in (
        credentials.enroll_principal,
        credentials.rotate_key,
        credentials.revoke_principal,
        credentials.note_use,
        enroll_recipient,
        change_certificate,
        change_wishes,
        operators.retry,
        operators.kill,
        operators.replay,
        react,
        answer,
        reset_offset,
        open_intent,
        remember_intent,
        close_intent,
        grant_allowance,
        write_notice,
        bundle,
        reports.report,
        reports.bounce,
        reports.close_bounce,
        suppression.suppress,
        suppression.unsuppress,
        escalations.set_escalation,
        escalations.watch,
        escalations.escalate,
        resealing.reseal,
        webhooks.claim_webhooks,
        webhooks.close_webhook,
        webhooks.set_webhook,
        webhooks.rotate_webhook,
        webhooks.remove_webhook,
        webhooks.replay_webhooks,
    )
}


def _post(transaction: Transaction, transfer: Mapping[str, Any], notification: int | None) -> bool:
    postings = [Posting(str(posting["account"]), _integer(posting["amount"])) for posting in transfer["postings"]]
    return ledger.transfer(transaction, transfer["key"], postings, transfer["currency"], notification)


def _integer(amount: Any) -> int:
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise Refused("malformed", "an amount is a whole number of minor units")
    return amount
