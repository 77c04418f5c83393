"""Addresses of our own: what comes there is about a notification that we gave them out for, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.return_addresses import Purpose, ReturnAddresses, Returned

OURS = ReturnAddresses(b"r" * 32, "gate.example")


@given(st.integers(0, 2**62), st.sampled_from(["bounce", "reply"]))
def test_an_address_is_read_as_it_was_made(notification: int, purpose: Purpose) -> None:
    """In whatever case servers on the way have put it."""
    address = OURS.make(purpose, notification)

    assert OURS.read(address) == OURS.read(address.upper()) == Returned(purpose, notification)
    assert len(address.rpartition("@")[0]) <= 64


@pytest.mark.parametrize(
    "address",
    [
        OURS.make("bounce", 7).replace("bounce", "reply"),
        OURS.make("bounce", 7).replace("+7-", "+8-"),
        OURS.make("bounce", 7).replace("+7-", "+07-"),
        OURS.make("bounce", 7).replace("gate.example", "other.example"),
        ReturnAddresses(b"s" * 32, "gate.example").make("bounce", 7),
        "bounce@gate.example",
        "",
    ],
)
def test_an_address_that_we_did_not_make_says_nothing(address: str) -> None:
    """Otherwise anybody could say of any notification that it bounced."""
    assert OURS.read(address) is None
