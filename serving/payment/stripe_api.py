"""The part of Stripe that we use, through Stripe's own library: plain fields come back, errors are the library's.

Whatever makes something carries its key twice: as Idempotency-Key, which Stripe remembers for 24 hours at least
(https://docs.stripe.com/api/idempotent_requests), and in the metadata, by which it is found for ever.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import stripe

from serving.payment.provider import Order
from serving.payment.stripe_answers import Fields


@dataclass(frozen=True, slots=True)
class Checkout:
    """What the payer sees: what is sold, and where the page leads. `{key}` in a URL stands for the order's key."""

    success_url: str
    cancel_url: str
    product: str = "Notification wallet"


class StripeApi:
    """Stripe over HTTP; nothing is tried twice in here. Close it."""

    def __init__(self, api_key: str, checkout: Checkout, *, url: str, timeout: float) -> None:
        stripe.enable_telemetry = False  # it would write a file into the home folder and tell of the machine
        self._checkout = checkout
        self._http = stripe.HTTPXClient(timeout=timeout)
        client = stripe.StripeClient(
            api_key, base_addresses={"api": url}, http_client=self._http, max_network_retries=0
        )
        self._v1 = client.v1

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def find_customer(self, payer: str) -> str | None:
        """The id of the payer's customer; one that is younger than an hour may not be found."""
        found = await self._v1.customers.search_async({"query": f"metadata['payer']:'{payer}'", "limit": 1})
        return next((customer.id for customer in found.data), None)

    async def create_customer(self, payer: str) -> str:
        """The id of a customer who is only a name to Stripe."""
        customer = await self._v1.customers.create_async(
            {"metadata": {"payer": payer}}, {"idempotency_key": f"customer:{payer}"}
        )
        return customer.id

    async def saved_card(self, customer: str) -> str | None:
        """The id of the card that the customer used last."""
        methods = await self._v1.payment_methods.list_async({"customer": customer, "type": "card", "limit": 1})
        return next((method.id for method in methods.data), None)

    async def open_session(self, order: Order, customer: str) -> Fields:
        """A page where the customer pays the order's amount with a card, which is saved for later holds."""
        session = await self._v1.checkout.sessions.create_async(
            {
                "mode": "payment",
                "customer": customer,
                "client_reference_id": order.key,
                "metadata": {"key": order.key},
                "allowed_payment_method_types": ["card"],
                "line_items": [
                    {
                        "quantity": 1,
                        "price_data": {
                            "currency": order.currency.lower(),
                            "unit_amount": order.amount,
                            "product_data": {"name": self._checkout.product},
                        },
                    }
                ],
                "payment_intent_data": {"setup_future_usage": "off_session", "metadata": {"key": order.key}},
                "success_url": _filled(self._checkout.success_url, order),
                "cancel_url": _filled(self._checkout.cancel_url, order),
            },
            {"idempotency_key": order.key},
        )
        return _fields(session)

    async def session(self, id_: str) -> Fields:
        """The session as it stands."""
        return _fields(await self._v1.checkout.sessions.retrieve_async(id_))

    async def sessions(self, customer: str) -> AsyncIterator[Fields]:
        """The customer's sessions, newest first."""
        page = await self._v1.checkout.sessions.list_async({"customer": customer, "limit": 100})
        async for session in page.auto_paging_iter():
            yield _fields(session)

    async def hold(self, order: Order, customer: str, card: str) -> Fields:
        """A PaymentIntent that only reserves the amount, with the payer absent."""
        intent = await self._v1.payment_intents.create_async(
            {
                "amount": order.amount,
                "currency": order.currency.lower(),
                "customer": customer,
                "payment_method": card,
                "allowed_payment_method_types": ["card"],
                "capture_method": "manual",
                "confirm": True,
                "off_session": True,
                "metadata": {"key": order.key},
            },
            {"idempotency_key": order.key},
        )
        return _fields(intent)

    async def intent(self, id_: str) -> Fields:
        """The PaymentIntent as it stands."""
        return _fields(await self._v1.payment_intents.retrieve_async(id_))

    async def intents(self, customer: str) -> AsyncIterator[Fields]:
        """The customer's PaymentIntents, newest first."""
        page = await self._v1.payment_intents.list_async({"customer": customer, "limit": 100})
        async for intent in page.auto_paging_iter():
            yield _fields(intent)

    async def capture(self, order: Order) -> Fields:
        """The hold, with the order's amount taken and the rest let go."""
        intent = await self._v1.payment_intents.capture_async(
            order.reference, {"amount_to_capture": order.amount}, {"idempotency_key": order.key}
        )
        return _fields(intent)

    async def cancel(self, order: Order) -> Fields:
        """The hold, let go."""
        return _fields(await self._v1.payment_intents.cancel_async(order.reference, {}, {"idempotency_key": order.key}))

    async def refund(self, order: Order) -> Fields:
        """The order's amount of a charge, on its way back."""
        refund = await self._v1.refunds.create_async(
            {"payment_intent": order.reference, "amount": order.amount, "metadata": {"key": order.key}},
            {"idempotency_key": order.key},
        )
        return _fields(refund)

    async def refunds(self, intent: str) -> AsyncIterator[Fields]:
        """What was refunded of the PaymentIntent, newest first."""
        page = await self._v1.refunds.list_async({"payment_intent": intent, "limit": 100})
        async for refund in page.auto_paging_iter():
            yield _fields(refund)


def _filled(template: str, order: Order) -> str:
    return template.replace("{key}", quote(order.key, safe=""))


def _fields(answer: object) -> dict[str, Any]:
    """The answer's fields; TypeError where it is none of Stripe's objects."""
    if not isinstance(answer, stripe.StripeObject):
        raise TypeError("the answer is no object")
    return answer.to_dict()
