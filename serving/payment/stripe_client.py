"""Stripe as the rest of ShitOps Pay sees it: every answer, and the lack of one, is one of five values.

A top-up (CHARGE) is a page of Stripe's, a Checkout Session, and needs the payer; a HOLD is on the card that was saved
there. Stripe forgets an Idempotency-Key after 24 hours, and then the same order would be done once more: so call
`find` before an order is sent again, as `exchange` does. It looks through what Stripe keeps for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import Self, assert_never

import stripe

from serving.errors import ConfigurationError
from serving.payment.provider import Absent, Answer, Declined, Done, NeedsPayer, Order, Unknown, Verb
from serving.payment.stripe_answers import (
    KEY_CONFLICT,
    UNEXPECTED_STATE,
    Fields,
    has_key,
    read_capture,
    read_error,
    read_hold,
    read_refund,
    read_session,
    read_void,
)
from serving.payment.stripe_api import Checkout, StripeApi
from serving.settings import Settings

REMEMBERED = 1024
STUMBLES = (AttributeError, KeyError, TypeError, ValueError, RecursionError)
"""What Stripe's library raises over JSON that is none of Stripe's objects."""


class StripeClient:
    """A `Provider` over Stripe. Close it, or use it with `async with`."""

    name = "stripe"

    def __init__(
        self,
        api_key: str,
        checkout: Checkout,
        *,
        minimum: int = 50,
        url: str = "https://api.stripe.com",
        timeout: float = 10.0,
        patience: float = 60.0,
    ) -> None:
        """`minimum` is the least that Stripe holds, in minor units (https://docs.stripe.com/currencies).

        `timeout` is seconds for each of connecting, sending and waiting for an answer; `patience` for all the requests
        that one order takes, of which there are many where a list is long.
        """
        self._api = StripeApi(api_key, checkout, url=url, timeout=timeout)
        self._minimum = minimum
        self._patience = patience
        self._customers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def perform(self, order: Order) -> Answer:
        """Send the order; safe to repeat with the same key and content for 24 hours, and after a `find` for ever."""
        answer = await self._answered(self._perform(order))
        if isinstance(answer, Declined) and answer.reason in (KEY_CONFLICT, UNEXPECTED_STATE):
            found = await self.find(order)
            return found if isinstance(found, Done | NeedsPayer) else answer
        return Unknown("Stripe did not do it") if isinstance(answer, Absent) else answer

    async def find(self, order: Order) -> Answer | Absent:
        """Ask what became of the order, without repeating it."""
        return await self._answered(self._find(order))

    async def _answered(self, asked: Awaitable[Answer | Absent]) -> Answer | Absent:
        try:
            async with asyncio.timeout(self._patience):
                return await asked
        except TimeoutError:
            return Unknown("no answer in time")
        except stripe.StripeError as error:
            return read_error(error)
        except STUMBLES as error:
            return Unknown(f"the answer cannot be read ({type(error).__name__})")

    async def _perform(self, order: Order) -> Answer | Absent:
        match order.verb:
            case Verb.CHARGE:
                return read_session(await self._api.open_session(order, await self._customer(order.payer)), order)
            case Verb.HOLD:
                return await self._hold(order)
            case Verb.CAPTURE:
                return read_capture(await self._api.capture(order), order)
            case Verb.VOID:
                return read_void(await self._api.cancel(order), order)
            case Verb.REFUND:
                return read_refund(await self._api.refund(order), order)
            case Verb.RELEASE:
                return Done("balance")  # what was charged is in our balance at Stripe already
            case _:
                assert_never(order.verb)

    async def _find(self, order: Order) -> Answer | Absent:
        match order.verb:
            case Verb.CHARGE:
                session = await self._find_session(order)
                return Absent() if session is None else read_session(session, order)
            case Verb.HOLD:
                intent = await self._find_hold(order)
                return Absent() if intent is None else read_hold(intent, order)
            case Verb.CAPTURE:
                return read_capture(await self._api.intent(order.reference), order)
            case Verb.VOID:
                return read_void(await self._api.intent(order.reference), order)
            case Verb.REFUND:
                refund = await _first(self._api.refunds(order.reference), order.key)
                return Absent() if refund is None else read_refund(refund, order)
            case Verb.RELEASE:
                return Done("balance")
            case _:
                assert_never(order.verb)

    async def _hold(self, order: Order) -> Answer:
        if order.amount < self._minimum:
            return Declined("below_minimum")
        customer = await self._customer(order.payer)
        card = await self._api.saved_card(customer)
        if card is None:
            return Declined("no_saved_card")
        return read_hold(await self._api.hold(order, customer, card), order)

    async def _find_session(self, order: Order) -> Fields | None:
        if order.reference:
            return await self._api.session(order.reference)
        customer = await self._known_customer(order.payer)
        return await _first(self._api.sessions(customer), order.key) if customer else None

    async def _find_hold(self, order: Order) -> Fields | None:
        if order.reference:
            return await self._api.intent(order.reference)
        customer = await self._known_customer(order.payer)
        return await _first(self._api.intents(customer), order.key) if customer else None

    async def _customer(self, payer: str) -> str:
        """The payer's customer, made where there is none: searching is an hour late at worst, the key lasts a day."""
        return await self._known_customer(payer) or self._remember(payer, await self._api.create_customer(payer))

    async def _known_customer(self, payer: str) -> str | None:
        known = self._customers.get(payer) or await self._api.find_customer(payer)
        return self._remember(payer, known) if known else None

    def _remember(self, payer: str, customer: str) -> str:
        self._customers[payer] = customer
        if len(self._customers) > REMEMBERED:
            del self._customers[next(iter(self._customers))]
        return customer


def connect_stripe(settings: Settings) -> StripeClient:
    """The client for the account in the settings; ConfigurationError where there is none."""
    key = settings.stripe_key.get_secret_value()
    if not key:
        raise ConfigurationError("CLARION_STRIPE_KEY is empty; set it to the secret key of your Stripe account")
    back = f"{settings.pay_url}/back/{{key}}"
    return StripeClient(key, Checkout(success_url=back, cancel_url=f"{back}?left=1"))


async def _first(objects: AsyncIterator[Fields], key: str) -> Fields | None:
    async for fields in objects:
        if has_key(fields, key):
            return fields
    return None
