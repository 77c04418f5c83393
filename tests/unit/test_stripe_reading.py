"""What the objects of Stripe mean that localstripe never makes: payments under way, expired holds, failed refunds."""

from typing import Any

import pytest

from serving.payment.provider import Absent, Answer, Declined, Done, NeedsPayer, Order, Unknown, Verb
from serving.payment.stripe_answers import read_capture, read_hold, read_refund, read_session, read_void

METADATA = {"metadata": {"key": "k"}, "currency": "eur"}
SESSION = {**METADATA, "id": "cs_1", "amount_total": 500, "payment_status": "unpaid", "payment_intent": None}
INTENT = {**METADATA, "id": "pi_1", "amount": 500, "amount_received": 0}
REFUND = {**METADATA, "id": "re_1", "amount": 500, "payment_intent": "pi_1"}


def order(verb: Verb, reference: str = "pi_1") -> Order:
    return Order("k", verb, "payer", 500, "EUR", reference)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"status": "open", "url": "https://pay"}, NeedsPayer("https://pay", "cs_1")),
        ({"status": "complete", "payment_status": "paid", "payment_intent": "pi_1"}, Done("pi_1")),
        ({"status": "expired"}, Declined("expired")),
    ],
)
def test_a_session_is_open_paid_or_expired(change: dict[str, Any], answer: Answer) -> None:
    """Only `paid` is money (https://docs.stripe.com/checkout/fulfillment)."""
    assert read_session({**SESSION, **change}, order(Verb.CHARGE)) == answer


@pytest.mark.parametrize(
    "change",
    [
        {"status": "complete"},
        {"status": "complete", "payment_status": "paid"},
        {"status": "open", "url": None},
        {"status": "later"},
        {"status": "complete", "payment_status": "paid", "payment_intent": "pi_1", "amount_total": 499},
        {"status": "complete", "payment_status": "paid", "payment_intent": "pi_1", "currency": "jpy"},
        {"status": "complete", "payment_status": "paid", "payment_intent": "pi_1", "metadata": {"key": "other"}},
    ],
)
def test_a_session_that_does_not_say_it_clearly_is_unknown(change: dict[str, Any]) -> None:
    """Another amount, currency or order is no payment of this one."""
    assert isinstance(read_session({**SESSION, **change}, order(Verb.CHARGE)), Unknown)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"status": "requires_capture"}, Done("pi_1")),
        ({"status": "succeeded"}, Done("pi_1")),
        (
            {"status": "requires_action", "next_action": {"redirect_to_url": {"url": "https://bank"}}},
            NeedsPayer("https://bank", "pi_1"),
        ),
        ({"status": "requires_action", "next_action": {"type": "x"}}, Declined("authentication_required")),
        (
            {"status": "requires_payment_method", "last_payment_error": {"code": "expired_card"}},
            Declined("expired_card"),
        ),
        ({"status": "requires_payment_method", "last_payment_error": None}, Declined("requires_payment_method")),
        ({"status": "canceled"}, Declined("canceled")),
        ({"status": "processing"}, Unknown("Stripe has not finished")),
    ],
)
def test_a_hold_is_made_refused_or_under_way(change: dict[str, Any], answer: Answer) -> None:
    """A hold that became too old is `canceled`: goods were shipped on those before."""
    assert read_hold({**INTENT, **change}, order(Verb.HOLD)) == answer


@pytest.mark.parametrize(
    ("change", "captured", "voided"),
    [
        ({"status": "succeeded", "amount_received": 500}, Done("pi_1"), Declined("captured")),
        ({"status": "requires_capture"}, Absent(), Absent()),
        ({"status": "canceled"}, Declined("canceled"), Done("pi_1")),
        ({"status": "processing"}, Unknown("Stripe has not finished"), Unknown("Stripe has not finished")),
    ],
)
def test_a_hold_is_captured_or_let_go_and_never_both(
    change: dict[str, Any], captured: Answer | Absent, voided: Answer | Absent
) -> None:
    """Whichever came first is what happened, whoever asks."""
    assert read_capture({**INTENT, **change}, order(Verb.CAPTURE)) == captured
    assert read_void({**INTENT, **change}, order(Verb.VOID)) == voided


def test_a_capture_of_another_amount_or_hold_is_not_ours() -> None:
    """Somebody captured by hand: no book of ours knows that."""
    done = {**INTENT, "status": "succeeded", "amount_received": 499}

    assert isinstance(read_capture(done, order(Verb.CAPTURE)), Unknown)
    assert isinstance(read_capture({**done, "amount_received": 500}, order(Verb.CAPTURE, "pi_2")), Unknown)
    assert isinstance(read_void({**INTENT, "status": "canceled"}, order(Verb.VOID, "pi_2")), Unknown)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"status": "succeeded"}, Done("re_1")),
        ({"status": "pending"}, Unknown("Stripe has not finished")),
        ({"status": "failed"}, Declined("refund_failed")),
        ({"status": "succeeded", "payment_intent": "pi_2"}, Unknown("the answer is not about this order")),
    ],
)
def test_a_refund_is_done_when_the_money_is_on_its_way(change: dict[str, Any], answer: Answer) -> None:
    """A bank may refuse days later; until then nobody says that it is done."""
    assert read_refund({**REFUND, **change}, order(Verb.REFUND)) == answer
