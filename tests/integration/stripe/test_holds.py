"""Cards held, captured, let go and refunded by Stripe over real HTTP, once whatever is lost on the way."""

from dataclasses import replace

import pytest

from serving.payment.faults import Fault, Faults
from serving.payment.provider import Absent, Declined, Done, NeedsPayer, Order, Unknown, Verb
from serving.payment.stripe_client import StripeClient
from tests.integration.stripe.payer import ASKS_THE_PAYER, DECLINED, GOOD, pay, save_card
from tests.integration.stripe.proxy import Proxy

PAYER = "0123456789abcdef"
HOLD = Order("7:hold", Verb.HOLD, PAYER, 500, "EUR")
INTENTS = "/v1/payment_intents"

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # Stripe's library, of httpx


async def held(stripe: StripeClient, proxy: Proxy) -> str:
    """The reference of a hold."""
    await save_card(proxy.localstripe, PAYER, GOOD)
    answer = await stripe.perform(HOLD)
    assert isinstance(answer, Done)
    return answer.reference


def follow(verb: Verb, reference: str, amount: int = HOLD.amount) -> Order:
    return Order(f"7:{verb}", verb, PAYER, amount, "EUR", reference)


async def test_a_hold_takes_no_money_until_less_of_it_is_captured(stripe: StripeClient, proxy: Proxy) -> None:
    """The mail may cost less than was held; the rest is the payer's again."""
    reference = await held(stripe, proxy)
    before = await proxy.localstripe.get(f"{INTENTS}/{reference}")
    capture = follow(Verb.CAPTURE, reference, 120)
    absent = await stripe.find(capture)

    answer = await stripe.perform(capture)

    after = await proxy.localstripe.get(f"{INTENTS}/{reference}")
    assert (before["status"], before["latest_charge"]["captured"], absent) == ("requires_capture", False, Absent())
    assert (answer, after["status"]) == (Done(reference), "succeeded")
    assert after["latest_charge"]["amount"] - after["latest_charge"]["amount_refunded"] == 120
    assert await stripe.find(capture) == Done(reference)
    assert isinstance(await stripe.find(follow(Verb.CAPTURE, reference, 500)), Unknown)


async def test_no_more_is_captured_than_was_held(stripe: StripeClient, proxy: Proxy) -> None:
    """The payer agreed to the hold and to nothing else."""
    reference = await held(stripe, proxy)

    assert await stripe.perform(follow(Verb.CAPTURE, reference, 501)) == Declined("amount_too_large")


async def test_a_void_lets_the_hold_go_and_it_can_never_be_captured(stripe: StripeClient, proxy: Proxy) -> None:
    """Nobody is charged for a notification that was not delivered."""
    reference = await held(stripe, proxy)
    void = follow(Verb.VOID, reference)
    absent = await stripe.find(void)

    answer = await stripe.perform(void)
    proxy.forget_keys()

    assert (absent, answer) == (Absent(), Done(reference))
    assert (await stripe.find(void), await stripe.perform(void)) == (Done(reference), Done(reference))
    capture = follow(Verb.CAPTURE, reference)
    assert await stripe.perform(capture) == Declined("payment_intent_unexpected_state")
    assert await stripe.find(capture) == Declined("canceled")
    assert await stripe.find(HOLD) == Declined("canceled")


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.HTML])
async def test_an_answer_that_is_lost_makes_no_second_hold(stripe: StripeClient, proxy: Proxy, fault: Fault) -> None:
    """A timeout taken for a failure is how a card is held twice."""
    await save_card(proxy.localstripe, PAYER, GOOD)
    proxy.faulty, proxy.faults = INTENTS, Faults({fault: 1.0}, 1)
    lost = await stripe.perform(HOLD)
    proxy.faults = Faults({}, 1)

    found, repeated = await stripe.find(HOLD), await stripe.perform(HOLD)

    (intent,) = await proxy.localstripe.all("payment_intents")
    assert isinstance(lost, Unknown)
    assert (found, repeated) == (Done(intent["id"]), Done(intent["id"]))


@pytest.mark.parametrize("verb", [Verb.CAPTURE, Verb.VOID, Verb.REFUND])
async def test_an_answer_that_is_lost_is_found_by_asking(stripe: StripeClient, proxy: Proxy, verb: Verb) -> None:
    """What ends a hold, or gives money back, is asked about like what makes it, also when the key is forgotten."""
    reference = await held(stripe, proxy)
    if verb is Verb.REFUND:
        await stripe.perform(follow(Verb.CAPTURE, reference))
    order = follow(verb, reference)
    before = await stripe.find(order)
    proxy.faults = Faults({Fault.TIMEOUT: 1.0}, 1)
    lost = await stripe.perform(order)
    proxy.faults = Faults({}, 1)
    proxy.forget_keys()

    found = await stripe.find(order)

    assert (before, type(lost), type(found)) == (Absent(), Unknown, Done)
    assert len(await proxy.localstripe.all("refunds")) == (verb is Verb.REFUND)


async def test_a_hold_below_the_minimum_is_declined_before_stripe_is_asked(stripe: StripeClient, proxy: Proxy) -> None:
    """Cards have a minimum; smaller prices are what the wallet is for."""
    await save_card(proxy.localstripe, PAYER, GOOD)

    assert await stripe.perform(replace(HOLD, amount=49)) == Declined("below_minimum")
    assert isinstance(await stripe.perform(replace(HOLD, amount=50)), Done)


@pytest.mark.parametrize(("card", "code"), [(DECLINED, "card_declined"), (ASKS_THE_PAYER, "authentication_required")])
async def test_a_card_that_cannot_be_held_is_declined_with_its_code(
    stripe: StripeClient, proxy: Proxy, card: str, code: str
) -> None:
    """The payer is told why, also when the first answer was lost."""
    await save_card(proxy.localstripe, PAYER, card)

    assert await stripe.perform(HOLD) == Declined(code)
    assert await stripe.find(HOLD) == Declined(code)


async def test_the_card_of_a_top_up_can_be_held_and_the_top_up_refunded(stripe: StripeClient, proxy: Proxy) -> None:
    """The payer agreed on the page to later holds; what was paid there can go back in part."""
    asked = await stripe.perform(Order("top-up:1", Verb.CHARGE, PAYER, 900, "EUR"))
    assert isinstance(asked, NeedsPayer)
    await pay(asked.url)
    paid = await stripe.find(Order("top-up:1", Verb.CHARGE, PAYER, 900, "EUR"))
    assert isinstance(paid, Done)

    refunded = await stripe.perform(follow(Verb.REFUND, paid.reference, 300))

    (refund,) = await proxy.localstripe.all("refunds")
    assert isinstance(await stripe.perform(HOLD), Done)
    assert (refunded, refund["amount"], refund["payment_intent"]) == (Done(refund["id"]), 300, paid.reference)


async def test_nobody_is_held_who_never_saved_a_card(stripe: StripeClient, proxy: Proxy) -> None:
    """A recipient without a top-up by card has the wallet only."""
    assert await stripe.find(HOLD) == Absent()
    assert await stripe.perform(HOLD) == Declined("no_saved_card")
    assert await proxy.localstripe.all("payment_intents") == []


async def test_the_same_key_with_another_hold_is_refused(stripe: StripeClient, proxy: Proxy) -> None:
    """The first hold stands, and the mistake is seen."""
    await held(stripe, proxy)

    assert await stripe.perform(replace(HOLD, amount=600)) == Declined("key_conflict")
    assert len(await proxy.localstripe.all("payment_intents")) == 1


async def test_a_reference_that_stripe_does_not_know_is_declined(stripe: StripeClient) -> None:
    """An id of another account will never be found, however often it is asked for."""
    assert await stripe.perform(follow(Verb.CAPTURE, "pi_unknown")) == Declined("resource_missing")
