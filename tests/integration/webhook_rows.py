"""What is to be told, as rows of the real store, for the tests of its outbox."""

from typing import Any

import pytest

from serving.queue.store import credentials, webhooks
from tests.integration.peers import Store

URL = "https://hooks.example/"


@pytest.fixture
def sender(store: Store) -> Store:
    """The store, whose sender has a webhook."""
    enrol(store, "sender")
    return store


def enrol(store: Store, principal: str, url: str = URL) -> None:
    store.do(lambda t: credentials.enroll_principal(t, principal, "Ops", [], {"pays": "nobody"}))
    if url:
        store.do(lambda t: webhooks.set_webhook(t, principal, url))


def tell(store: Store, notification: int, event: str = "delivered") -> None:
    store.do(lambda t: webhooks.tell(t, notification, event, "captured"))


def claimed(store: Store, count: int = 100, each: int = 100, **values: Any) -> list[dict[str, Any]]:
    values = {"lease": 60.0, "busy": {}, **values}
    answer = store.do(lambda t: webhooks.claim_webhooks(t, count, each, **values))
    events: list[dict[str, Any]] = answer["events"]
    return events


def close(store: Store, event: dict[str, Any], state: str = "told", delay: float = 0.0) -> bool:
    closing = (event["id"], event["attempt"], state, "status 1")
    return bool(store.do(lambda t: webhooks.close_webhook(t, *closing, delay))["closed"])


def rows(store: Store) -> list[tuple[str, str, str]]:
    found = store.sql("SELECT notification, event, reason, state FROM webhook ORDER BY id")
    return [(row["event"], row["reason"], row["state"]) for row in found]


def notifications(store: Store, count: int) -> list[int]:
    return list(store.accept(recipients=count).notifications)
