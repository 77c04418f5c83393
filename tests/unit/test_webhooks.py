"""A provider's webhooks: believed when signed, and then only a reason to ask."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from serving.gateway.problems import Problem
from serving.gateway.webhooks import LARGEST_EVENT, Webhooks, read_stripe
from serving.payment.provider import Absent, Answer, Done, Order

SECRET, NOW = "whsec_test", 1_795_600_000.0
PAYLOAD = {"wallet": f"wallet:{'ab' * 32}", "amount": 500, "currency": "EUR"}
EVENT = {
    "id": "evt_1",
    "type": "checkout.session.completed",
    "data": {"object": {"id": "cs_1", "metadata": {"key": "page:7:500:x"}}},
}


@dataclass
class Ledger:
    """One open intent, and what was closed."""

    closed: list[str] = field(default_factory=list)

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        assert name == "intent"
        state = "done" if self.closed else "open"
        intent = {"verb": "charge", "notification": None, "payload": PAYLOAD, "state": state}
        return [{"key": parameters["key"], **intent}] if parameters["key"] == "page:7:500:x" else []

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        if name == "close_intent":
            self.closed.append(parameters["key"])
        return {"state": "open", "outcome": None, "reference": "cs_1"}


@dataclass
class Provider:
    """Knows that it was paid."""

    asked: list[str] = field(default_factory=list)
    name: str = "stripe"

    async def perform(self, order: Order) -> Answer:
        raise AssertionError(f"{order.key}: an event never starts anything")

    async def find(self, order: Order) -> Answer | Absent:
        self.asked.append(order.reference)
        return Done("pi_1")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def http(ledger: Ledger, provider: Provider) -> TestClient:
    webhooks = Webhooks(ledger, provider, read_stripe(SECRET, lambda: NOW), header="stripe-signature")

    async def receive(request: Request) -> Response:
        try:
            return await webhooks.receive(request)
        except Problem as problem:
            return problem.answer.response()

    return TestClient(Starlette(routes=[Route("/{provider}", receive, methods=["POST"])]))


def signed(event: Any = EVENT, *, at: float = NOW, secret: str = SECRET) -> dict[str, Any]:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    mac = hmac.new(secret.encode(), f"{int(at)}.".encode() + body, hashlib.sha256).hexdigest()
    return {"content": body, "headers": {"stripe-signature": f"t={int(at)},v1={mac}"}}


def test_an_event_makes_us_ask_and_the_wallet_has_its_money(
    http: TestClient, ledger: Ledger, provider: Provider
) -> None:
    """Whatever the event says, it is the provider's answer that counts."""
    assert http.post("/stripe", **signed()).status_code == 200
    assert (provider.asked, ledger.closed) == (["cs_1"], ["page:7:500:x"])


def test_an_event_that_comes_again_changes_nothing(http: TestClient, ledger: Ledger, provider: Provider) -> None:
    """Providers deliver at least once, in any order."""
    answers = [http.post("/stripe", **signed()).status_code for _ in range(3)]

    assert answers == [200, 200, 200]
    assert (len(provider.asked), len(ledger.closed)) == (1, 1)


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (signed(secret="whsec_other"), 400),
        (signed(at=NOW - 301), 400),
        (signed(at=NOW + 301), 400),
        (signed(b"not json"), 400),
        ({"content": b"{}"}, 400),
        (signed(b"x" * (LARGEST_EVENT + 1)), 413),
        (signed({"id": "evt_2", "type": "invoice.paid", "data": {"object": {"id": "in_1"}}}), 200),
        (signed({**EVENT, "data": {"object": {"id": "cs_2", "metadata": {"key": "somebody:else"}}}}), 200),
    ],
)
def test_what_is_not_believed_or_not_ours_moves_nothing(
    http: TestClient, ledger: Ledger, provider: Provider, event: dict[str, Any], status: int
) -> None:
    """Anybody can post; and what is about nothing of ours must not be sent for days."""
    assert http.post("/stripe", **event).status_code == status
    assert (provider.asked, ledger.closed) == ([], [])


def test_another_providers_events_have_no_address_here(http: TestClient) -> None:
    """One account, one secret, one address."""
    assert http.post("/sandbox", **signed()).status_code == 404
