"""What senders' webhooks are told: an outbox, written with what it tells of, and claimed by who sends it.

The row of an event is made in the transaction of the hop, where the sender's policy has a webhook:
`{"webhook": {"url": …, "version": n, "rotated_at": …, "gone_at": …}}`. A sender without one costs no question of its
own.
"""

from collections.abc import Mapping
from typing import Any

from serving.errors import Refused
from serving.queue.store.transaction import Transaction, earliest
from serving.queue.values import as_json, from_json, identifier

Answer = dict[str, Any]

CLOSINGS = frozenset({"told", "given_up", "waiting", "gone"})
LONGEST_URL = 2_048


def tell(transaction: Transaction, notification: int, event: str, reason: str = "") -> None:
    """The notification's sender is to hear of the event, after all that it was told of the notification before.

    `reason` is one word of ours, never another's text: who replies to us may write addresses into it.
    """
    transaction.later("insert_webhook", id=notification, number=transaction.new_id(), event=event, reason=reason)


def claim_webhooks(
    transaction: Transaction, count: int, each: int, lease: float, busy: Mapping[str, int], after: str = ""
) -> Answer:
    """Up to `count` due events, at most `each` of a sender beyond those it is `busy` with, for `lease` seconds.

    No event comes before an earlier one of its notification is told or given up. Senders come in their order, those
    behind `after` first, so that none waits for the others' backlog.
    """
    senders = sorted(transaction.all("webhook_senders"), key=lambda row: (row["id"] <= after, row["id"]))
    events: list[Answer] = []
    for sender in senders:
        webhook = from_json(sender["policy"]).get("webhook", {})
        room = min(each - busy.get(sender["id"], 0), count - len(events))
        if not webhook.get("url"):  # it was taken away while an event was written down
            transaction.run("give_up_webhooks", principal=sender["id"], reply="there is no webhook any more")
        elif room > 0:
            events += _claimed(transaction, sender["id"], webhook, room, lease)
    return {"events": events}


def close_webhook(
    transaction: Transaction, id: str, attempt: int, state: str, reply: str, delay: float = 0.0
) -> Answer:
    """How the attempt ended: `told`, `given_up`, `waiting` for `delay` seconds more, or `gone`: its receiver wants no
    more, nothing is sent there until somebody says so again. `closed` is false where the lease was over."""
    if state not in CLOSINGS:
        raise Refused("malformed", f"an attempt ends as one of {', '.join(sorted(CLOSINGS))}")
    ending = "given_up" if state == "gone" else state
    due = transaction.now + max(float(delay), 0.0)
    values = {"id": identifier(id), "attempt": attempt, "state": ending, "reply": reply[:200], "available_at": due}
    row = transaction.one("close_webhook", **values)
    if row is not None and state == "gone":
        _change(transaction, row["principal"], gone_at=transaction.now)
        transaction.run("give_up_webhooks", principal=row["principal"], reply=reply[:200])
    return {"closed": row is not None}


def set_webhook(transaction: Transaction, principal: str, url: str) -> Answer:
    """Where a sender's events go from now on. The first time, and after a removal, there is a new secret (`fresh`)."""
    if not url or len(url) > LONGEST_URL:
        raise Refused("malformed", f"a webhook's URL has 1 to {LONGEST_URL} characters")
    before = _webhook(transaction, principal)
    fresh = "url" not in before
    version = int(before.get("version", 0)) + fresh
    kept = {} if fresh else {"rotated_at": before.get("rotated_at")}
    _change(transaction, principal, **{**kept, "url": url, "version": version, "gone_at": None})
    return {"version": version, "fresh": fresh}


def rotate_webhook(transaction: Transaction, principal: str) -> Answer:
    """A new secret; for a while both sign."""
    before = _webhook(transaction, principal)
    if "url" not in before:
        raise Refused("not_found", "the sender has no webhook")
    version = int(before["version"]) + 1
    _change(transaction, principal, version=version, rotated_at=transaction.now)
    return {"version": version}


def remove_webhook(transaction: Transaction, principal: str) -> Answer:
    """Nothing is told any more, and what waits is given up; a later webhook has another secret."""
    if "url" not in _webhook(transaction, principal):
        raise Refused("not_found", "the sender has no webhook")
    _change(transaction, principal, url=None, rotated_at=None, gone_at=None)
    given_up = transaction.run("give_up_webhooks", principal=principal, reply="the webhook was removed").rowcount
    return {"given_up": given_up}


def replay_webhooks(transaction: Transaction, notification: str = "0", principal: str = "", since: float = 0) -> Answer:
    """Send again what was told or given up, under the same ids: of one notification, or a sender's since that time."""
    of = identifier(notification)
    if of:
        row = transaction.one("notification_principal", id=of)
        principal = "" if row is None else row["principal"]
    webhook = _webhook(transaction, principal)
    if "url" not in webhook:
        raise Refused("not_found", "no sender with a webhook has that; see `clarion webhook set`")
    if webhook.get("gone_at"):
        raise Refused("incomplete", "the receiver said that it is gone; `clarion webhook set` turns it on again")
    rows = transaction.run("replay_webhooks", principal=principal, notification=of, since=earliest(float(since)))
    return {"count": rows.rowcount}


def webhook(transaction: Transaction, principal: str) -> list[Answer]:
    """A sender's webhook, and how many events there are in each state."""
    row = transaction.one("principal", id=principal)
    stated = {} if row is None else from_json(row["policy"]).get("webhook", {})
    if "url" not in stated:
        return []
    counts = {row["state"]: row["count"] for row in transaction.all("webhook_counts", principal=principal)}
    times = {name: stated.get(name) for name in ("rotated_at", "gone_at")}
    states = {state: counts.get(state, 0) for state in ("waiting", "told", "given_up")}
    return [{"principal": principal, "url": stated["url"], "version": stated["version"], **times, **states}]


def forget(transaction: Transaction, before: float, count: int) -> int:
    """Forget up to `count` events that were told or given up, made before that time; how many there were."""
    return transaction.run("forget_webhooks", before=earliest(before), count=count).rowcount


def _claimed(
    transaction: Transaction, principal: str, webhook: Mapping[str, Any], room: int, lease: float
) -> list[Answer]:
    until = transaction.now + lease
    rows = transaction.all("claim_webhooks", principal=principal, count=room, until=until)
    stated = {name: webhook.get(name) for name in ("url", "version", "rotated_at")}
    return [
        {
            "id": str(row["id"]),
            "notification": str(row["notification"]),
            "message": str(row["message"]),
            "via": None if row["via"] is None else str(row["via"]),
            "replays": from_json(row["facts"]).get("replays"),
            **{name: row[name] for name in ("event", "reason", "at", "attempt")},
            "principal": principal,
            **stated,
        }
        for row in sorted(rows, key=lambda row: int(row["id"]))
    ]


def _webhook(transaction: Transaction, principal: str) -> dict[str, Any]:
    """What the sender's policy says of it, locked until the end; {} where it never had one."""
    row = transaction.one("lock_principal", id=principal)
    if row is None:
        raise Refused("not_found", "no such sender, or it is revoked")
    stated: dict[str, Any] = from_json(row["policy"]).get("webhook", {})
    return stated


def _change(transaction: Transaction, principal: str, **values: Any) -> None:
    """None takes a value away."""
    row = transaction.one("lock_principal", id=principal)
    if row is None:
        return
    policy = from_json(row["policy"])
    webhook = {**policy.get("webhook", {}), **values}
    policy["webhook"] = {name: value for name, value in webhook.items() if value is not None}
    transaction.run("set_policy", id=principal, policy=as_json(policy))
