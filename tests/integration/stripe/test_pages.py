"""The page of Stripe's on which a top-up is paid, over real HTTP: one for each order, whatever is lost on the way."""

import asyncio
from dataclasses import replace

import pytest

from serving.payment.faults import Fault, Faults
from serving.payment.provider import Absent, Declined, Done, NeedsPayer, Order, TryLater, Unknown, Verb
from serving.payment.stripe_client import StripeClient
from tests.integration.stripe.payer import CHECKOUT, DECLINED, pay
from tests.integration.stripe.proxy import Proxy
from tests.integration.stripe.server import API_KEY

TOP_UP = Order("top-up:1", Verb.CHARGE, "0123456789abcdef", 500, "EUR")
SESSIONS = "/v1/checkout/sessions"

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # Stripe's library, of httpx


async def test_a_card_that_is_declined_on_the_page_leaves_the_page_open(stripe: StripeClient) -> None:
    """The payer takes another card; nothing is decided before."""
    asked = await stripe.perform(TOP_UP)
    assert isinstance(asked, NeedsPayer)
    known = replace(TOP_UP, reference=asked.reference)

    status = await pay(asked.url, DECLINED)
    unpaid = await stripe.find(known)
    await pay(asked.url)
    paid = await stripe.find(known)

    assert (status, unpaid) == (402, asked)
    assert isinstance(paid, Done)


@pytest.mark.parametrize(("fault", "hang"), [(Fault.TIMEOUT, 0.0), (Fault.TIMEOUT, 2.0), (Fault.HTML, 0.0)])
async def test_an_answer_that_is_lost_makes_no_second_page(
    stripe: StripeClient, proxy: Proxy, fault: Fault, hang: float
) -> None:
    """Two pages for one order, and the payer pays twice."""
    proxy.faulty, proxy.hang, proxy.faults = SESSIONS, hang, Faults({fault: 1.0}, 1)
    lost = await stripe.perform(TOP_UP)
    proxy.faults = Faults({}, 1)

    found = await stripe.find(TOP_UP)
    repeated = await stripe.perform(TOP_UP)

    assert isinstance(lost, Unknown)
    assert isinstance(found, NeedsPayer)
    assert repeated == found
    assert list(proxy.checkout.sessions) == [found.reference]


async def test_searches_that_lag_make_no_second_customer(stripe: StripeClient, proxy: Proxy) -> None:
    """Stripe's search is behind by a minute, or an hour; two customers of one payer would hide each other's pages."""
    proxy.intents.search_lags = True
    first = await stripe.perform(TOP_UP)
    async with StripeClient(API_KEY, CHECKOUT, url=proxy.url) as other:
        absent = await other.find(TOP_UP)
        second = await other.perform(TOP_UP)

    assert absent == Absent()
    assert second == first
    assert len(await proxy.localstripe.all("customers")) == 1


async def test_a_page_that_nobody_paid_expires(stripe: StripeClient, proxy: Proxy) -> None:
    """What can no longer be paid must not stay open for ever."""
    asked = await stripe.perform(TOP_UP)
    assert isinstance(asked, NeedsPayer)
    proxy.checkout.expire()

    assert await stripe.find(replace(TOP_UP, reference=asked.reference)) == Declined("expired")
    assert await stripe.find(TOP_UP) == Declined("expired")


async def test_the_same_key_with_another_order_is_refused(stripe: StripeClient, proxy: Proxy) -> None:
    """Two amounts under one key are a mistake of ours, and no reason to ask the payer for the second."""
    await stripe.perform(TOP_UP)

    assert await stripe.perform(replace(TOP_UP, amount=501)) == Declined("key_conflict")
    assert len(proxy.checkout.sessions) == 1


async def test_a_page_made_with_other_urls_is_still_the_answer(stripe: StripeClient, proxy: Proxy) -> None:
    """We were configured anew between two tries: Stripe refuses the key, and the first page is right all the same."""
    first = await stripe.perform(TOP_UP)

    async with StripeClient(API_KEY, replace(CHECKOUT, cancel_url="https://new.example"), url=proxy.url) as other:
        assert await other.perform(TOP_UP) == first


async def test_orders_at_the_same_time_make_one_page(stripe: StripeClient, proxy: Proxy) -> None:
    """A double click; whoever comes second is told that it is unknown, or the same page."""
    answers = await asyncio.gather(*(stripe.perform(TOP_UP) for _ in range(5)))

    assert {type(answer) for answer in answers} <= {NeedsPayer, Unknown}
    assert isinstance(await stripe.perform(TOP_UP), NeedsPayer)
    assert len(proxy.checkout.sessions) == len(await proxy.localstripe.all("customers")) == 1


async def test_an_error_that_stripe_remembers_stays_unknown_until_it_forgets(
    stripe: StripeClient, proxy: Proxy
) -> None:
    """A 500 says nothing about the money, however often it is repeated."""
    proxy.faulty, proxy.faults = SESSIONS, Faults({Fault.ERROR: 1.0}, 1)
    first = await stripe.perform(TOP_UP)
    proxy.faults = Faults({}, 1)
    remembered = await stripe.perform(TOP_UP)
    proxy.forget_keys()

    assert (first, remembered) == (Unknown("status 500 without an answer to the order"),) * 2
    assert await stripe.find(TOP_UP) == Absent()
    assert isinstance(await stripe.perform(TOP_UP), NeedsPayer)


async def test_without_a_connection_or_a_good_api_key_it_is_tried_later(proxy: Proxy) -> None:
    """Nothing was sent or nothing was done, and somebody will repair it: the payer's order is not refused for that."""
    async with StripeClient("sk_test_wrong", CHECKOUT, url=proxy.url) as wrong:
        refused = await wrong.perform(TOP_UP)
    async with StripeClient(API_KEY, CHECKOUT, url="http://127.0.0.1:1") as lonely:
        unheard = await lonely.perform(TOP_UP)

    assert refused == TryLater("Stripe refuses the API key")
    assert unheard == TryLater("no connection (ConnectError)")
