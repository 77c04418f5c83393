"""What a payer does at Stripe, and where Clarion's pages lead the browser."""

import httpx

from serving.payment.stripe_api import Checkout
from tests.integration.stripe.server import Localstripe

GOOD, DECLINED, ASKS_THE_PAYER = "4242424242424242", "4000000000000341", "4000002500003155"
"""Card numbers (https://docs.stripe.com/testing)."""
CHECKOUT = Checkout("https://clarion.example/paid/{key}", "https://clarion.example/pay")


async def pay(url: str, card: str = GOOD) -> int:
    """What the payer does on the page; the status that the browser gets."""
    async with httpx.AsyncClient(trust_env=False) as browser:
        return (await browser.post(url, data={"card": card})).status_code


async def new_card(localstripe: Localstripe, number: str) -> str:
    """The id of a card that belongs to nobody yet."""
    card = await localstripe.post(
        "/v1/payment_methods",
        type="card",
        card__number=number,
        card__exp_month="12",
        card__exp_year="2040",
        card__cvc="123",
    )
    return str(card.raise_for_status().json()["id"])


async def save_card(localstripe: Localstripe, payer: str, number: str) -> None:
    """A new customer's card, kept for later, as a top-up on the page keeps it."""
    customer = (await localstripe.post("/v1/customers", metadata__payer=payer)).json()["id"]
    card = await new_card(localstripe, number)
    (await localstripe.post(f"/v1/payment_methods/{card}/attach", customer=customer)).raise_for_status()
