"""What Stripe's objects and errors mean: one of the five answers, and `Unknown` for all that is not about our order."""

import math
from collections.abc import Mapping
from typing import Any

import httpx
import stripe

from serving.payment.provider import Absent, Answer, Declined, Done, NeedsPayer, Order, TryLater, Unknown

Fields = Mapping[str, Any]

KEY_CONFLICT = "key_conflict"
UNEXPECTED_STATE = "payment_intent_unexpected_state"

OTHER = Unknown("the answer is not about this order")
UNDER_WAY = Unknown("Stripe has not finished")

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def read_session(session: Fields, order: Order) -> Answer:
    """How the top-up stands whose page the Checkout Session is."""
    if not _is_about(session, order, "amount_total"):
        return OTHER
    match session, session.get("payment_status"):
        case {"payment_intent": str(intent)}, "paid":
            return Done(intent)
        case {"status": "open", "id": str(id_), "url": str(url)}, _:
            return NeedsPayer(url, id_)
        case {"status": "expired"}, _:
            return Declined("expired")
        case {"status": "complete"}, _:
            return UNDER_WAY
        case _:
            return OTHER


def read_hold(intent: Fields, order: Order) -> Answer:
    """How the hold stands that the PaymentIntent is."""
    if not _is_about(intent, order, "amount"):
        return OTHER
    match intent:
        case {"id": str(id_), "status": "requires_capture" | "succeeded"}:
            return Done(id_)
        case {"id": str(id_), "status": "requires_action", "next_action": {"redirect_to_url": {"url": str(url)}}}:
            return NeedsPayer(url, id_)
        case {"status": "requires_action"}:
            return Declined("authentication_required")  # and no page where the payer could do it
        case {"status": "requires_payment_method", "last_payment_error": {"code": str(code)}}:
            return Declined(code)
        case {"status": "requires_payment_method" | "canceled" as status}:
            return Declined(status)
        case {"status": "processing"}:
            return UNDER_WAY
        case _:
            return OTHER


def read_capture(intent: Fields, order: Order) -> Answer | Absent:
    """Whether the hold was captured, with the order's amount."""
    match intent:
        case {"id": order.reference, "status": "succeeded", "amount_received": order.amount}:
            return Done(order.reference)
        case {"id": order.reference, "status": "requires_capture"}:
            return Absent()
        case {"id": order.reference, "status": "canceled"}:
            return Declined("canceled")
        case {"id": order.reference, "status": "processing"}:
            return UNDER_WAY
        case _:
            return OTHER


def read_void(intent: Fields, order: Order) -> Answer | Absent:
    """Whether the hold was let go; one that became too old was as well."""
    match intent:
        case {"id": order.reference, "status": "canceled"}:
            return Done(order.reference)
        case {"id": order.reference, "status": "succeeded"}:
            return Declined("captured")
        case {"id": order.reference, "status": "processing"}:
            return UNDER_WAY
        case {"id": order.reference, "status": str()}:
            return Absent()
        case _:
            return OTHER


def read_refund(refund: Fields, order: Order) -> Answer:
    """How the refund stands."""
    if not _is_about(refund, order, "amount") or refund.get("payment_intent") != order.reference:
        return OTHER
    match refund:
        case {"id": str(id_), "status": "succeeded"}:
            return Done(id_)
        case {"status": "failed" | "canceled" as status}:
            return Declined(f"refund_{status}")
        case {"status": "pending" | "requires_action"}:
            return UNDER_WAY
        case _:
            return OTHER


def read_error(error: stripe.StripeError) -> Answer:
    """What an error says of the order: a refusal is believed only in Stripe's own words, for its own reasons."""
    if isinstance(error, stripe.APIConnectionError):
        return _no_answer(error)
    code = _code(error)
    match error.http_status:
        case 429:
            return TryLater("Stripe is busy", _retry_after(error))
        case 400 if code == "rate_limit":
            return TryLater("Stripe is busy", _retry_after(error))
        case 409 if code == "lock_timeout":
            return TryLater("Stripe works on the same object", _retry_after(error))
        case 401 | 403 if code:
            return TryLater("Stripe refuses the API key")
        case 400 | 402 | 404 if code:
            return Declined(code)
        case status:
            return Unknown(f"status {status} without an answer to the order")


def has_key(fields: Fields, key: str) -> bool:
    """Whether the object was made for the order with this key."""
    metadata = fields.get("metadata")
    return isinstance(metadata, Mapping) and metadata.get("key") == key


def _is_about(fields: Fields, order: Order, amount: str) -> bool:
    money = (fields.get(amount), fields.get("currency"))
    return has_key(fields, order.key) and money == (order.amount, order.currency.lower())


def _no_answer(error: stripe.APIConnectionError) -> TryLater | Unknown:
    kind = type(error.__cause__).__name__
    if isinstance(error.__cause__, NEVER_SENT):
        return TryLater(f"no connection ({kind})")
    return Unknown(f"no answer ({kind})")


def _code(error: stripe.StripeError) -> str:
    """Stripe's code for what went wrong; empty where the answer is none of Stripe's."""
    match error.json_body:
        case {"error": {"type": "idempotency_error"}} if error.http_status == 400:
            return KEY_CONFLICT
        case {"error": {"code": str(code)}} if code:
            return code
        case {"error": {"type": str(kind)}}:
            return kind
        case _:
            return ""


def _retry_after(error: stripe.StripeError) -> float | None:
    try:
        seconds = float((error.headers or {}).get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 and math.isfinite(seconds) else None
