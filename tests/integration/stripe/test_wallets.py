"""Wallets topped up by Stripe: the real broker, real HTTP, webhooks that repeat, and what goes wrong between them."""

import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from aiohttp import web

from serving.payment.faults import Fault, Faults
from serving.payment.provider import Answer, Done, NeedsPayer, Unknown
from serving.payment.stripe_client import StripeClient
from serving.payment.stripe_events import Event, Reason, Rejected, read_event
from serving.payment.topup import resume, top_up
from serving.queue.client import Client
from tests.integration.stripe.payer import CHECKOUT, pay
from tests.integration.stripe.proxy import SECRET, Proxy
from tests.integration.stripe.server import API_KEY

Eventually = Callable[..., Awaitable[None]]

SESSIONS = "/v1/checkout/sessions"

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # Stripe's library, of httpx


@dataclass
class Shop:
    """Receives webhooks as the gateway does: an event that can be believed makes it ask about what is open."""

    client: Client
    provider: StripeClient
    heard: list[Event | Rejected] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        event = read_event(await request.read(), request.headers["Stripe-Signature"], SECRET, now=time.time())
        self.heard.append(event)
        if isinstance(event, Event):
            await resume(self.client, self.provider)
        return web.Response()


@pytest.fixture
async def shop(client: Client, stripe: StripeClient, proxy: Proxy) -> AsyncIterator[Shop]:
    shop = Shop(client, stripe)
    application = web.Application()
    application.add_routes([web.post("/webhooks", shop.receive)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    proxy.webhook_url = "http://{}:{}/webhooks".format(*runner.addresses[0])
    yield shop
    await runner.cleanup()


def wallet_of(name: str) -> str:
    return f"wallet:{hashlib.sha256(name.encode()).hexdigest()}"


async def pay_in(client: Client, provider: StripeClient, name: str) -> Answer:
    return await top_up(client, provider, wallet=wallet_of(name), amount=500, currency="EUR", key=f"top-up:{name}")


async def balance(client: Client, name: str) -> int:
    rows = await client.query("balance", account=wallet_of(name))
    return int(rows[0]["balance"]) if rows else 0


async def test_paying_on_the_page_credits_the_wallet_once_however_often_it_is_told(
    client: Client, stripe: StripeClient, proxy: Proxy, shop: Shop, eventually: Eventually
) -> None:
    """Stripe sends events twice and out of order; each is the same hint, and the wallet has the money once."""
    asked = await pay_in(client, stripe, "ada")
    assert isinstance(asked, NeedsPayer)
    assert await pay(asked.url) == 303
    await eventually(lambda: len(shop.heard) == 3)
    once = set(shop.heard)

    await proxy.replay(Random(3))  # noqa: S311
    again = await pay_in(client, stripe, "ada")

    (intent,) = await proxy.localstripe.all("payment_intents")
    assert again == Done(intent["id"])
    assert await balance(client, "ada") == 500
    assert (len(shop.heard), set(shop.heard)) == (9, once)
    assert Rejected(Reason.NO_KEY) in once  # that the customer was made
    assert {(event.type, event.key, event.reference) for event in once if isinstance(event, Event)} == {
        ("checkout.session.completed", "top-up:ada", asked.reference),
        ("payment_intent.succeeded", "top-up:ada", intent["id"]),
    }


async def test_no_webhook_is_needed_to_find_that_the_payer_paid(
    client: Client, stripe: StripeClient, proxy: Proxy
) -> None:
    """Webhooks get lost; whoever comes back to the page, and every start, asks."""
    asked = await pay_in(client, stripe, "ben")
    assert isinstance(asked, NeedsPayer)
    await pay(asked.url)

    await resume(client, stripe)

    assert await balance(client, "ben") == 500
    assert len(proxy.checkout.sessions) == 1


async def test_after_the_key_is_forgotten_the_page_is_still_found(
    client: Client, stripe: StripeClient, proxy: Proxy
) -> None:
    """Stripe keeps a key for a day; a process may be down for longer, with an intent open and no reference."""
    proxy.faulty, proxy.faults = SESSIONS, Faults({Fault.TIMEOUT: 1.0}, 1)
    lost = await pay_in(client, stripe, "eve")
    proxy.faults = Faults({}, 1)
    proxy.forget_keys()

    async with StripeClient(API_KEY, CHECKOUT, url=proxy.url) as later:
        (found,) = await resume(client, later)

    assert isinstance(lost, Unknown)
    assert isinstance(found, NeedsPayer)
    assert len(proxy.checkout.sessions) == 1


async def test_faults_of_every_kind_charge_nobody_twice(client: Client, stripe: StripeClient, proxy: Proxy) -> None:
    """Twenty payers through lost answers, pages of HTML and errors, and a day later all have what they paid, once."""
    names = [f"payer{number}" for number in range(20)]
    proxy.faults = Faults({Fault.TIMEOUT: 0.15, Fault.HTML: 0.1, Fault.ERROR: 0.1}, 7)
    for name in names * 3:
        answer = await pay_in(client, stripe, name)
        if isinstance(answer, NeedsPayer):
            await pay(answer.url)
    proxy.faults = Faults({}, 7)
    proxy.forget_keys()

    for name in names:
        answer = await pay_in(client, stripe, name)
        if isinstance(answer, NeedsPayer):
            await pay(answer.url)
    await resume(client, stripe)

    intents = await proxy.localstripe.all("payment_intents")
    assert sorted(intent["metadata"]["key"] for intent in intents) == sorted(f"top-up:{name}" for name in names)
    assert [await balance(client, name) for name in names] == [500] * 20
    assert await client.query("intents", state="open") == []
