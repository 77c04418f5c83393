"""Which provider of payments there is, by the settings."""

from collections.abc import Mapping
from typing import Protocol, assert_never

from serving.payment.provider import Provider
from serving.settings import Settings

PAGES: Mapping[str, str] = {"sandbox": "", "stripe": "https://checkout.stripe.com"}
"""The origin of a provider's own pages, to which a payer may be sent."""


HAVE_CARDS = frozenset({"stripe"})
"""Those that can hold a payer's saved card."""


class Connected(Provider, Protocol):
    """A provider with connections to close."""

    async def close(self) -> None:
        """Close them."""
        ...


def connect(settings: Settings) -> Connected:
    """The provider that the settings name; ConfigurationError where what it needs is missing."""
    match settings.provider:
        case "sandbox":
            from serving.payment.sandbox_client import SandboxClient

            return SandboxClient(settings.provider_url)
        case "stripe":
            from serving.payment.stripe_client import connect_stripe

            return connect_stripe(settings)
        case _:
            assert_never(settings.provider)
