"""Answers over real HTTP that are none of Stripe's, or refusals in Stripe's own words: no answer raises anything."""

import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from serving.errors import ConfigurationError
from serving.payment.provider import Answer, Declined, Done, Order, TryLater, Unknown, Verb
from serving.payment.stripe_client import StripeClient, connect_stripe
from serving.settings import Settings
from tests.integration.stripe.payer import CHECKOUT
from tests.integration.stripe.server import API_KEY

PAYER = "0123456789abcdef"
ORDERS = [Order(f"7:{verb}", verb, PAYER, 500, "EUR", "pi_2") for verb in Verb if verb is not Verb.RELEASE]
HOLD = Order("7:hold", Verb.HOLD, PAYER, 500, "EUR")

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # Stripe's library, of httpx


@contextlib.asynccontextmanager
async def answering(status: int, body: bytes, **headers: str) -> AsyncIterator[StripeClient]:
    """A client of a server that answers every request with this."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}".format(*runner.addresses[0])
    async with StripeClient(API_KEY, CHECKOUT, url=url, timeout=1.0, patience=0.3) as stripe:
        yield stripe
    await runner.cleanup()


STRANGE: list[tuple[int, bytes]] = [
    (200, b""),
    (200, b"<h1>Welcome</h1>"),
    (200, b"\xff\xfe"),
    (200, b"null"),
    (200, b"[]"),
    (200, b"[7]"),
    (200, b'"paid"'),
    (200, b"{}"),
    (200, b"[" * 60_000),
    (200, b'{"a":' * 900 + b"7" + b"}" * 900),
    (200, b'{"object": "list"}'),
    (200, b'{"object": "list", "data": null, "has_more": true}'),
    (200, b'{"object": "list", "data": [7], "has_more": false}'),
    (200, b'{"object": "list", "url": "/v1/x", "data": [{"id": "x"}], "has_more": true}'),
    (200, b'{"object": "checkout.session", "id": "cs_1", "payment_status": "paid", "payment_intent": "pi_1"}'),
    (200, b'{"object": "payment_intent", "id": "pi_1", "status": "requires_capture", "metadata": ["7:hold"]}'),
    (302, b""),
    (400, b'{"error": "no"}'),
    (402, b'{"error": []}'),
    (404, b"<h1>Not here</h1>"),
    (404, b"{}"),
    (409, b'{"error": {"type": "idempotency_error", "code": "idempotency_key_in_use"}}'),
    (500, b'{"error": {"type": "api_error"}}'),
    (502, b"<h1>Bad gateway</h1>"),
]


@pytest.mark.parametrize(("status", "body"), STRANGE)
async def test_what_is_no_answer_of_stripe_s_is_unknown_and_raises_nothing(status: int, body: bytes) -> None:
    """Whoever stands between us and Stripe may answer anything; none of it says that no money moved."""
    async with answering(status, body) as stripe:
        answers = [await ask(order) for order in [*ORDERS, HOLD] for ask in (stripe.perform, stripe.find)]

    assert {type(answer) for answer in answers} == {Unknown}


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (429, "rate_limit", TryLater("Stripe is busy", 7.0)),
        (400, "rate_limit", TryLater("Stripe is busy", 7.0)),
        (409, "lock_timeout", TryLater("Stripe works on the same object", 7.0)),
        (403, "more_permissions_required", TryLater("Stripe refuses the API key")),
        (402, "card_declined", Declined("card_declined")),
        (400, "amount_too_small", Declined("amount_too_small")),
    ],
)
async def test_what_stripe_refuses_is_declined_or_tried_later(status: int, code: str, expected: Answer) -> None:
    """Stripe's own words are believed, and its Retry-After is kept."""
    body = json.dumps({"error": {"type": "some_error", "code": code}}).encode()
    async with answering(status, body, **{"Retry-After": "7"}) as stripe:
        answers = [await ask(order) for order in [*ORDERS, HOLD] for ask in (stripe.perform, stripe.find)]

    assert set(answers) == {expected}


async def test_a_release_needs_no_call() -> None:
    """What was charged is in our balance at Stripe; settlement must not wait for it."""
    async with StripeClient(API_KEY, CHECKOUT, url="http://127.0.0.1:1") as stripe:
        order = Order("7:capture", Verb.RELEASE, PAYER, 5, "EUR")

        assert (await stripe.perform(order), await stripe.find(order)) == (Done("balance"), Done("balance"))


def test_without_an_api_key_the_client_says_what_to_set() -> None:
    """A process that starts without it would take every top-up and finish none."""
    with pytest.raises(ConfigurationError, match="CLARION_STRIPE_KEY"):
        connect_stripe(Settings(provider="stripe", delivery_expiry=2 * 86_400.0, hold_expiry=4 * 86_400.0))
