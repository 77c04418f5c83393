"""What comes back is read as what it says, whoever wrote it, and nothing else is read as a bounce."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.bounces.read import LARGEST, MOST, Bounce, read_bounce
from serving.suppressing import is_gone
from tests.unit.bounces import shapes
from tests.unit.bounces.shapes import TO

STAMP = "Return-Path: <{}>\r\nReceived: from mx.receiver.example ([192.0.2.7])\r\n\tby gate.example (Clarion); x\r\n"


def bounce(raw: bytes) -> Bounce:
    found = read_bounce(raw)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("raw", "action", "status", "diagnostic"),
    [
        (shapes.POSTFIX, "failed", "5.1.1", 'unknown user: "<address>"'),
        (shapes.DELAYED, "delayed", "4.4.1", 'unknown user: "<address>"'),
        (shapes.RELAYED, "delivered", "2.0.0", 'unknown user: "<address>"'),
        (shapes.WITHOUT_ACTION, "failed", "5.1.1", 'unknown user: "<address>"'),
        (shapes.VAGUE, "failed", "5.1.10", "550-5.1.10 <address> takes no mail"),
        (shapes.EXPIRED, "failed", "4.4.7", 'unknown user: "<address>"'),
        (shapes.EXIM, "failed", "5.1.1", "550 5.1.1 <address>: no such user here"),
        (shapes.QMAIL, "failed", "5.0.0", ""),
    ],
)
def test_every_shape_says_what_became_of_the_mail(raw: bytes, action: str, status: str, diagnostic: str) -> None:
    """Nobody's server asks which shape we like; the words are kept without anybody's address."""
    found = bounce(raw)

    assert (found.action, found.status, found.diagnostic) == (action, status, diagnostic)
    assert found.addresses == {TO}
    assert found.is_permanent is (action == "failed")
    assert "bob" not in found.reply


def test_an_international_report_in_base64_is_read() -> None:
    """RFC 6533: the part has another type there, any encoding, and addresses beyond ASCII."""
    found = bounce(shapes.IN_BASE64)

    assert (found.status, found.addresses) == ("5.2.1", frozenset({"jürgen@receiver.example"}))


def test_who_handed_it_on_reports_about_somebody_else() -> None:
    """That the friend of a friend is gone says nothing of whom we wrote to."""
    assert bounce(shapes.FORWARDED).addresses == {"b@else.example"}


@pytest.mark.parametrize("name", ["VACATION", "RESPONDER", "RECEIPT", "COMPLAINT", "ANSWER"])
def test_what_is_no_report_says_nothing(name: str) -> None:
    """A vacation that names an unknown user must suppress nobody; neither must a receipt, an answer or a complaint."""
    assert read_bounce(getattr(shapes, name)) is None


def test_what_only_looks_like_a_bounce_counts_only_from_nobody() -> None:
    """Bounces have the empty path; a person who writes like a mail server has not."""
    assert read_bounce(STAMP.format("eve@receiver.example").encode() + shapes.QMAIL) is None
    assert bounce(STAMP.format("").encode() + shapes.QMAIL).action == "failed"


def test_of_many_recipients_the_gravest_word_counts_with_whom_it_is_about() -> None:
    """An alias may fail for one of its members and work for the others."""
    end = b"--b\nContent-Description: U"
    more = b"Final-Recipient: rfc822; ann@receiver.example\nAction: delivered\nStatus: 2.0.0\n\n" + end
    found = bounce(shapes.POSTFIX.replace(end, more))

    assert (found.action, found.addresses) == ("failed", frozenset({TO}))


def test_a_report_without_end_is_read_as_far_as_it_is_bounded() -> None:
    """Neither a large report, nor one of ten thousand recipients, nor a deep one may hold up the intake."""
    large = shapes.POSTFIX + b"x" * (4 * LARGEST)
    many = b"".join(b"Final-Recipient: rfc822; %d@x.example\nAction: failed\n\n" % number for number in range(10_000))
    crowded = shapes.POSTFIX.replace(b"Final-Recipient: rfc822; bob@receiver.example\n", many, 1)
    deep = b'Content-Type: multipart/mixed; boundary="a"\n\n--a\n' * 5_000

    assert bounce(large).addresses == {TO}
    assert len(bounce(crowded).addresses) <= MOST
    assert read_bounce(deep) is None


@given(st.binary(max_size=400), st.integers(0, len(shapes.POSTFIX)))
def test_no_octets_break_it(junk: bytes, place: int) -> None:
    """It is anybody's mail; the same is read twice alike."""
    raw = shapes.POSTFIX[:place] + junk + shapes.POSTFIX[place:]

    assert read_bounce(raw) == read_bounce(raw)
    found = read_bounce(raw)
    assert found is None or len(found.reply) <= 220


@pytest.mark.parametrize(
    ("status", "gone"),
    [("5.1.1", True), ("5.1.6", True), ("5.1.10", True), ("5.2.1", True)]
    + [(status, False) for status in ("5.1.2", "5.2.2", "5.7.1", "4.1.1", "5.0.0")],
)
def test_only_what_says_that_there_is_no_mailbox_suppresses(status: str, gone: bool) -> None:
    """A full mailbox is empty tomorrow, and a policy is about one mail."""
    assert is_gone(status) is gone
