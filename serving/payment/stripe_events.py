"""Webhooks of Stripe: believed when signed and fresh, and then only a hint to ask about the intent with that key.

An event tells that something happened, never what is true now: it comes twice, late and out of order
(https://docs.stripe.com/webhooks). Whoever receives one asks the provider, and then every order of events is harmless.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import stripe

TOLERANCE = 300.0


class Reason(StrEnum):
    """Why an event is not believed."""

    BAD_SIGNATURE = "bad_signature"
    TOO_OLD = "too_old"
    FROM_THE_FUTURE = "from_the_future"
    NOT_JSON = "not_json"  # signed, and no event in JSON all the same
    NO_KEY = "no_key"  # about something that we did not make; answer 200, or Stripe sends it for days


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the object that Stripe calls `reference`, made for the order with this `key`."""

    id: str
    type: str
    key: str
    reference: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing that may be acted on."""

    reason: Reason


def read_event(
    payload: bytes, signature: str, secret: str, *, now: float, tolerance: float = TOLERANCE
) -> Event | Rejected:
    """The event in a request's body, exactly as it came; `signature` is its Stripe-Signature header.

    `now` is seconds since the epoch; a signature made more than `tolerance` seconds before or after is refused.
    """
    if not _is_signed(payload, signature, secret):
        return Rejected(Reason.BAD_SIGNATURE)
    age = now - _signed_at(signature)
    if age > tolerance:
        return Rejected(Reason.TOO_OLD)
    if age < -tolerance:
        return Rejected(Reason.FROM_THE_FUTURE)
    return _read(payload)


def _is_signed(payload: bytes, signature: str, secret: str) -> bool:
    """By the library, in constant time, and without a tolerance: with one it would look at the process's clock."""
    try:
        stripe.WebhookSignature.verify_header(payload, signature, secret, tolerance=None)
    except (stripe.SignatureVerificationError, TypeError, ValueError):  # TypeError: a signature that is no ASCII
        return False
    return True


def _signed_at(signature: str) -> int:
    """The first `t` of a header that the library has accepted: the one that it has verified."""
    fields = (part.split("=", 2) for part in signature.split(","))
    return next(int(field[1]) for field in fields if field[0] == "t")


def _read(payload: bytes) -> Event | Rejected:
    match _parsed(payload):
        case {"id": str(id_), "type": str(kind), "data": {"object": dict(fields)}}:
            return _about(id_, kind, fields)
        case _:
            return Rejected(Reason.NOT_JSON)


def _about(id_: str, kind: str, fields: dict[str, Any]) -> Event | Rejected:
    match fields:
        case {"id": str(reference), "metadata": {"key": str(key)}} if key:
            return Event(id_, kind, key, reference)
        case _:
            return Rejected(Reason.NO_KEY)


def _parsed(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None
