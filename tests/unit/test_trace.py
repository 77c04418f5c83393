"""What we stamp above relayed mail is read again as it was told, and nothing that a stranger wrote is taken for it."""

from datetime import UTC, datetime

import pytest

from serving.mail import LARGEST_HEADER, split
from serving.trace import Trace, header_size, read_words, stamp, stamped, without_return_path

NOW = datetime(2026, 11, 25, 15, tzinfo=UTC)
MAIL = b"From: ops@bank.example\r\n\r\nx\r\n"


@pytest.mark.parametrize(
    "trace",
    [
        Trace("192.0.2.1", "mx.bank.example", "bounce@bank.example"),
        Trace("2001:db8::1", "[IPv6:2001:db8::1]", ""),
        Trace("192.0.2.1", "mx", "größe@bücher.example"),
        Trace("192.0.2.1", "mx", "a=b+c/d@bank.example"),
        Trace(),
    ],
)
def test_a_stamp_says_again_what_it_was_told(trace: Trace) -> None:
    """In the fields that mail has for it, above a mail that stays as it was."""
    mail = stamp(trace, "gate.example", NOW) + MAIL
    parts = split(mail)

    assert stamped(mail) == trace
    assert parts is not None
    assert b"by gate.example (Clarion); Wed, 25 Nov 2026 15:00:00 +0000" in parts.first("received")
    assert mail.endswith(MAIL)


def test_what_travels_on_has_no_return_path_of_ours() -> None:
    """The server that delivers it writes its own, and two say two things."""
    mail = stamp(Trace("192.0.2.1", "mx", "bounce@bank.example"), "gate.example", NOW) + MAIL
    travelling = without_return_path(mail)

    assert travelling.startswith(b"Received: from mx ([192.0.2.1])\r\n")
    assert mail == b"Return-Path: <bounce@bank.example>\r\n" + travelling
    assert without_return_path(MAIL) == MAIL
    assert without_return_path(b"Return-Path: <theirs@bank.example>\r\n" + MAIL).startswith(b"Return-Path")


@pytest.mark.parametrize(
    ("client_ip", "helo", "mail_from"),
    [
        ("192.0.2.256", "mx", "a@b.example"),
        ("mx.example", "mx", "a@b.example"),
        ("", "mx", "a@b.example"),
        ("fe80::1%x])\r\nX: y", "mx", "a@b.example"),
        ("192.0.2.1", "mx example", "a@b.example"),
        ("192.0.2.1", "mx\r\nX: y", "a@b.example"),
        ("192.0.2.1", "", "a@b.example"),
        ("192.0.2.1", "mx", "a@b.example>\r\nX: y"),
        ("192.0.2.1", "mx", "<a@b.example>"),
        ("192.0.2.1", "mx", "a" * 600),
        ("192.0.2.1", "m" * 600, "a@b.example"),
    ],
)
def test_words_that_no_field_can_hold_are_no_trace(client_ip: str, helo: str, mail_from: str) -> None:
    """A line break in them would be a field of somebody else's in our name."""
    assert read_words(client_ip, helo, mail_from) is None


@pytest.mark.parametrize(
    ("client_ip", "kept"),
    [("192.0.2.1", "192.0.2.1"), ("2001:0DB8::0001", "2001:db8::1")],
)
def test_an_address_is_kept_in_its_usual_form(client_ip: str, kept: str) -> None:
    """SPF compares it."""
    found = read_words(client_ip, "mx", "a@b.example")

    assert found is not None
    assert found.client_ip == kept


@pytest.mark.parametrize(
    ("mail", "header"),
    [
        (b"A: b\r\n\r\nx", b"A: b"),
        (b"A: b\n\nx", b"A: b"),
        (b"A: b\r\n\nx", b"A: b"),
        (b"A: b\n\r\nx\r\n\r\n", b"A: b"),
        (b"\r\nx\r\n\r\n", b""),
        (b"\nx\n\n", b""),
        (b"\n\nx", b""),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b\r\r\n\r\n", b"A: b\r"),
        (b"", b""),
    ],
)
def test_a_header_ends_before_the_first_empty_line(mail: bytes, header: bytes) -> None:
    """However its lines end."""
    assert mail[: header_size(mail)] == header


@pytest.mark.parametrize("longer", [-1, 0, 1])
def test_no_more_is_looked_at_than_a_header_may_have(longer: int) -> None:
    """A mail without an empty line costs no more for that."""
    mail = b"x" * (LARGEST_HEADER + longer) + b"\r\n\r\nbody"

    assert header_size(mail) == LARGEST_HEADER + min(longer, 0)


def test_what_a_stranger_wrote_below_our_stamp_is_not_it() -> None:
    """A forged trace from an address that SPF allows would prove any sender."""
    forged = stamp(Trace("192.0.2.1", "mx", "bounce@bank.example"), "gate.example", NOW) + MAIL
    ours = stamp(Trace(), "gate.example", NOW)

    assert stamped(ours + forged) == Trace()
