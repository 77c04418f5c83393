"""A Stripe for each test, and Clarion's client of it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from serving.payment.stripe_client import StripeClient
from tests.integration.stripe.payer import CHECKOUT
from tests.integration.stripe.proxy import Proxy, opened
from tests.integration.stripe.server import API_KEY, running


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A localstripe's URL. Each test finds it empty, but its events are a second late: no other module gets them."""
    with running() as url:
        yield url


@pytest.fixture
async def proxy(server: str) -> AsyncIterator[Proxy]:
    """Stripe, as far as Clarion sees it."""
    async with opened(server) as proxy:
        yield proxy


@pytest.fixture
async def stripe(proxy: Proxy) -> AsyncIterator[StripeClient]:
    """Clarion's client of the proxy."""
    async with StripeClient(API_KEY, CHECKOUT, url=proxy.url, timeout=1.0) as client:
        yield client
