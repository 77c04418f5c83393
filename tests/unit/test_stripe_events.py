"""Webhooks of Stripe: one that is forged, stale or unreadable is refused, a good one says which intent to ask about."""

import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.payment.stripe_events import Event, Reason, Rejected, read_event

SECRET, NOW = "whsec_clarion", 1_790_000_000
SESSION = {"id": "cs_1", "object": "checkout.session", "metadata": {"key": "top-up:1"}}
EVENT = {"id": "evt_1", "object": "event", "type": "checkout.session.completed", "data": {"object": SESSION}}
PAYLOAD = json.dumps(EVENT).encode()
READ = Event("evt_1", "checkout.session.completed", "top-up:1", "cs_1")


def v1(payload: bytes, at: int = NOW, secret: str = SECRET) -> str:
    """The signature as Stripe describes it (https://docs.stripe.com/webhooks, "Verify manually")."""
    return hmac.new(secret.encode(), f"{at}.".encode() + payload, "sha256").hexdigest()


def signed(payload: bytes, at: int = NOW) -> str:
    return f"t={at},v1={v1(payload, at)}"


def test_a_signed_event_says_what_to_ask_about() -> None:
    """The key finds the intent, the reference is what Stripe calls it."""
    assert read_event(PAYLOAD, signed(PAYLOAD), SECRET, now=NOW) == READ


def test_an_event_is_read_the_same_however_often_it_comes() -> None:
    """It is a hint and no state: a second one must not look like news."""
    assert read_event(PAYLOAD, signed(PAYLOAD, NOW + 60), SECRET, now=NOW + 61) == READ


def test_one_good_signature_of_several_is_enough() -> None:
    """While a secret is rolled, Stripe signs with the old one and the new one, and in schemes that we do not know."""
    header = f"t={NOW},v1={v1(PAYLOAD, secret='whsec_old')},v0=6ffbb59b,v1={v1(PAYLOAD)}"

    assert read_event(PAYLOAD, header, SECRET, now=NOW) == READ


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        "t=,v1=",
        "v1=abc",
        f"t={NOW}",
        f"t=today,v1={v1(PAYLOAD)}",
        f"t={NOW},v1={v1(PAYLOAD, secret='whsec_other')}",
        f"t={NOW},v0={v1(PAYLOAD)}",
        f"t={NOW + 1},v1={v1(PAYLOAD)}",
        f"t={NOW},v1=ü{v1(PAYLOAD)}",
        f"t={'9' * 5000},v1={v1(PAYLOAD)}",
    ],
)
def test_a_wrong_signature_is_refused(header: str) -> None:
    """Anybody can call the address; only Stripe knows the secret."""
    assert read_event(PAYLOAD, header, SECRET, now=NOW) == Rejected(Reason.BAD_SIGNATURE)


def test_a_payload_that_was_changed_is_refused() -> None:
    """The signature is over every octet."""
    assert read_event(PAYLOAD + b" ", signed(PAYLOAD), SECRET, now=NOW) == Rejected(Reason.BAD_SIGNATURE)


def test_an_empty_secret_believes_nobody() -> None:
    """A service that was started without the secret must not accept what everybody can sign."""
    header = f"t={NOW},v1={v1(PAYLOAD, secret='')}"

    assert read_event(PAYLOAD, header, "", now=NOW) == Rejected(Reason.BAD_SIGNATURE)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, READ),
        (300, READ),
        (301, Rejected(Reason.TOO_OLD)),
        (-300, READ),
        (-301, Rejected(Reason.FROM_THE_FUTURE)),
        (-86_400, Rejected(Reason.FROM_THE_FUTURE)),
    ],
)
def test_only_what_was_signed_within_five_minutes_is_believed(age: int, expected: Event | Rejected) -> None:
    """Whoever recorded a request cannot use it next week, nor one that is dated tomorrow."""
    assert read_event(PAYLOAD, signed(PAYLOAD, NOW - age), SECRET, now=NOW) == expected


def test_the_time_that_counts_is_the_time_that_was_signed() -> None:
    """A second `t` in the header must not make an old signature young."""
    header = f"t={NOW - 900},t={NOW},v1={v1(PAYLOAD, NOW - 900)}"

    assert read_event(PAYLOAD, header, SECRET, now=NOW) == Rejected(Reason.TOO_OLD)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"7", b"[" * 60_000, b'{"id": 1}', b'{"id": "e", "type": "t"}'])
def test_what_is_no_event_is_refused_although_it_is_signed(payload: bytes) -> None:
    """A signature proves who wrote it, and not that it can be read."""
    assert read_event(payload, signed(payload), SECRET, now=NOW) == Rejected(Reason.NOT_JSON)


@pytest.mark.parametrize(
    "about",
    [
        {"id": "cus_1"},
        {"id": "cus_1", "metadata": {}},
        {"id": "cus_1", "metadata": {"key": ""}},
        {"id": "cus_1", "metadata": {"key": 7}},
        {"id": "cus_1", "metadata": []},
        {"metadata": {"key": "top-up:1"}},
    ],
)
def test_what_we_did_not_make_has_no_key(about: dict[str, Any]) -> None:
    """The account has events of other things too; they are acknowledged and nothing is asked."""
    payload = json.dumps({**EVENT, "data": {"object": about}}).encode()

    assert read_event(payload, signed(payload), SECRET, now=NOW) == Rejected(Reason.NO_KEY)


@given(payload=st.binary(max_size=200), header=st.text(max_size=80))
def test_nothing_that_comes_raises(payload: bytes, header: str) -> None:
    """The address is open to the world."""
    unsigned = read_event(payload, header, SECRET, now=NOW)
    read_event(payload, signed(payload), SECRET, now=NOW)

    assert unsigned == Rejected(Reason.BAD_SIGNATURE)
