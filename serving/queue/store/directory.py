"""Queries and commands by name: who may send, who receives, where a notification is, the ledger.

Octets are hexadecimal in parameters and rows, ids are decimal strings, times are seconds since the epoch.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from serving.errors import Refused
from serving.queue.store import audit, commands, escalations, resealing, webhooks
from serving.queue.store.database import Row
from serving.queue.store.transaction import MAX_ID, Transaction
from serving.queue.values import from_json, identifier

Rows = list[dict[str, Any]]
Query = Callable[..., Rows]

KEY_SIZE = 32
_IDS = frozenset({"id", "message", "notification", "via"})
_JSON = frozenset({"facts", "detail", "policy", "wishes", "payload", "outcome"})


def answer(transaction: Transaction, name: str, parameters: Mapping[str, Any]) -> Rows:
    """Run the query or command; Refused `unknown_statement`, `malformed`, or what the command says."""
    if name in QUERIES:
        return QUERIES[name](transaction, **parameters)
    if name in commands.COMMANDS:
        return [commands.COMMANDS[name](transaction, **parameters)]
    raise Refused("unknown_statement", "the directory has no such query or command")


def is_short(name: str) -> bool:
    """Whether it is a query, and one that reads little."""
    return name in QUERIES and name not in LONG


def notification(transaction: Transaction, id: str) -> Rows:
    """Where one notification is."""
    return _rows(transaction.all("notification", id=identifier(id)))


def message(transaction: Transaction, id: str, limit: int = 10_000) -> Rows:
    """What one message became: a notification for each recipient, in their order."""
    return _rows(transaction.all("notifications_of", message=identifier(id), limit=limit))


def events(transaction: Transaction, id: str) -> Rows:
    """How it got there."""
    return _rows(transaction.all("events", id=identifier(id)))


def principal(transaction: Transaction, id: str) -> Rows:
    """A sender with its domains."""
    return _principals(transaction, transaction.all("principal", id=id))


def principal_by_key(transaction: Transaction, key_hash: str) -> Rows:
    """The sender whose API key has this hash, and when the key ends (`expires_at`)."""
    return _principals(transaction, transaction.all("principal_by_credential", kind="key", name=key_hash))


def principal_by_subject(transaction: Transaction, subject: str) -> Rows:
    """The sender that tokens of this issuer and subject (`<iss> <sub>`) speak for."""
    return _principals(transaction, transaction.all("principal_by_credential", kind="subject", name=subject))


def principals(transaction: Transaction) -> Rows:
    """All senders with their domains, a row for each key or subject, the oldest first."""
    return _principals(transaction, transaction.all("credentials"))


def sender_policy(transaction: Transaction, principal: str) -> Rows:
    """What a sender's written policy says."""
    return [{"policy": row["policy"]} for row in _rows(transaction.all("principal", id=principal))]


def domain_owners(transaction: Transaction, domain: str) -> Rows:
    """The senders who own exactly this domain."""
    return _rows(transaction.all("domain_owners", domain=domain))


def recipient(transaction: Transaction, lookup: str) -> Rows:
    """An enrolled recipient."""
    return _rows(transaction.all("recipient", lookup=bytes.fromhex(lookup)))


def recipients_with_certificates(transaction: Transaction, after: str = "", limit: int = 1_000) -> Rows:
    """The lookups of enrolled recipients with certificates, in their order, at most 1,000; `after` is the last one of
    the page before."""
    parameters = {"after": bytes.fromhex(after), "limit": min(limit, 1_000)}
    return _rows(transaction.all("recipients_with_certificates", **parameters))


def counters(transaction: Transaction, keys: list[str]) -> Rows:
    """The history's counters under these keys; those never counted are left out."""
    octets = [octets for octets in map(bytes.fromhex, keys) if len(octets) == KEY_SIZE]
    if not octets:
        return []
    return _rows(transaction.all("counters", keys=b"".join(octets), count=len(octets)))


def offset(transaction: Transaction, recipient: str) -> Rows:
    """How far a recipient's urgent threshold was moved, in log-odds; 0.0 for one who never reacted."""
    row = transaction.one("offset", recipient=bytes.fromhex(recipient))
    return [{"log_odds": 0.0 if row is None else row["log_odds"]}]


def balance(transaction: Transaction, account: str) -> Rows:
    """An account's balance in minor units."""
    return _rows(transaction.all("account", account=account))


def postings(transaction: Transaction, notification: str) -> Rows:
    """What was posted for a notification."""
    return _rows(transaction.all("notification_postings", id=identifier(notification)))


def statement(transaction: Transaction, account: str, before: int = MAX_ID - 1, limit: int = 100) -> Rows:
    """What went into and out of an account, the last first, at most 1,000; `before` is the `seq` of the page before."""
    return _rows(transaction.all("statement", account=account, before=before, limit=min(limit, 1_000)))


def charges(transaction: Transaction, wallet: str) -> Rows:
    """What was charged for a wallet, the last first: what a refund can be made of."""
    return _rows(transaction.all("charges", wallet=wallet))


def intent(transaction: Transaction, key: str) -> Rows:
    """One provider call."""
    if "\0" in key:  # no key has one, and not every database takes it
        return []
    return _rows(transaction.all("intent", key=key))


def intents(
    transaction: Transaction, state: str = "open", loose: bool = False, after: tuple[float, str] = (-1.0, "")
) -> Rows:
    """Provider calls in this state, oldest first, at most 1,000; `loose` are those of no notification, `after` is
    `opened_at` and `key` of the last one of the page before."""
    opened_at, key = after
    return _rows(transaction.all("intents", state=state, is_loose=int(loose), opened_at=opened_at, key=key))


def depths(transaction: Transaction) -> Rows:
    """How many notifications are where."""
    return _rows(transaction.all("depths"))


def peek(transaction: Transaction, stage: str, state: str = "queued", limit: int = 20) -> Rows:
    """What waits at a stage, the next one first, at most 1,000."""
    return _rows(transaction.all("peek", stage=stage, state=state, limit=min(limit, 1_000)))


def dead_letters(transaction: Transaction, limit: int = 20) -> Rows:
    """What was given up, the last one first, at most 1,000: where it was, why, and whether it was sent again."""
    rows = _rows(transaction.all("dead_letters", limit=min(limit, 1_000)))
    for row in rows:
        row["detail"], row["replayed"] = row["detail"].get("cause", ""), row.pop("facts").get("replayed")
    return rows


def body(transaction: Transaction, message: str) -> Rows:
    """A message's sealed body."""
    row = transaction.one("message_body", id=identifier(message))
    return [] if row is None else [{"body": row["body"].hex()}]


def digest_due(transaction: Transaction, recipient: str, including: str, limit: int = 200) -> Rows:
    """The recipient's deferred notifications that are due and in no digest yet, oldest first."""
    rows = transaction.all(
        "digest_due",
        recipient=bytes.fromhex(recipient),
        including=identifier(including),
        limit=limit,
        stage=transaction.topology.digest,
    )
    return _rows(rows)


def webhook_events(
    transaction: Transaction, principal: str, state: str = "", before: int = MAX_ID - 1, limit: int = 100
) -> Rows:
    """What a sender's webhook was told or is to be told, the last first, at most 1,000; `before` is the last `id` so
    far."""
    values = {"principal": principal, "state": state, "before": before, "limit": min(limit, 1_000)}
    return _rows(transaction.all("webhook_events", **values))


def suppressed(transaction: Transaction, lookup: str) -> Rows:
    """Why nothing is sent to a recipient, since when and until when; no row where mail is."""
    return _rows(transaction.all("suppressed", lookup=bytes.fromhex(lookup)))


def suppressions(transaction: Transaction, after: str = "", limit: int = 1_000) -> Rows:
    """To whom nothing is sent, in the order of their lookups, at most 1,000; `after` is the last one of the page
    before."""
    return _rows(transaction.all("suppressions", after=bytes.fromhex(after), limit=min(limit, 1_000)))


def bounces_waiting(transaction: Transaction, limit: int = 100) -> Rows:
    """What was said later of mail that a receiver had taken, and its sender was not told yet; the oldest first, with
    what is known of the mail."""
    return _rows(transaction.all("bounces_waiting", limit=min(limit, 1_000)))


def verify_ledger(transaction: Transaction) -> Rows:
    """Whether the ledger is as it was written: `intact`, `transfers`, the chain's `head`, and the first `fault`."""
    return [asdict(audit.verify(transaction))]


QUERIES: Mapping[str, Query] = {
    query.__name__: query
    for query in (
        notification,
        message,
        events,
        principal,
        principal_by_key,
        principal_by_subject,
        principals,
        sender_policy,
        domain_owners,
        recipient,
        recipients_with_certificates,
        counters,
        offset,
        balance,
        postings,
        statement,
        charges,
        intent,
        intents,
        depths,
        peek,
        dead_letters,
        body,
        digest_due,
        suppressed,
        suppressions,
        bounces_waiting,
        verify_ledger,
        webhooks.webhook,
        webhook_events,
        escalations.escalation,
        escalations.watched,
        resealing.sealed_counts,
        resealing.sealed_page,
    )
}
AT_ONCE = frozenset({"balance", "counters", "offset", "principal", "recipient", "sender_policy", "suppressed"})
"""Queries that stages ask for each mail, and that read a few rows by their keys."""

LONG = frozenset(
    {
        *("recipients_with_certificates", "depths", "peek", "dead_letters", "principals", "verify_ledger"),
        *("sealed_counts", "sealed_page", "suppressions", "webhook", "webhook_events"),
    }
)  # read whole tables: answered beside the commits


def _principals(transaction: Transaction, rows: list[Row]) -> Rows:
    return [
        {**row, "domains": [found["name"] for found in transaction.all("principal_domains", id=row["id"])]}
        for row in _rows(rows)
    ]


def _rows(rows: list[Row]) -> Rows:
    return [{name: _value(name, row[name]) for name in row.keys()} for row in rows]  # noqa: SIM118 - Row is no dict


def _value(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if name in _IDS and isinstance(value, int):
        return str(value)
    if name in _JSON and isinstance(value, str):
        return from_json(value)
    return value
