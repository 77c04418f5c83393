"""What a sender asked of reports lies above the stored mail, for us alone: nobody else writes it, it never leaves."""

import pytest

from serving.envelope import Request, SmtpEnvelope, envelope_field, envelope_of, without_envelope
from serving.trace import Trace, stamp, stamped
from tests.unit.test_trace import NOW

MAIL = b"From: ops@bank.example\r\n\r\nx\r\n"
ASKED = {"Ada@Example.net": Request(("failure", "delay"), "rfc822;ada+x@example.net"), "b@example.net": Request(())}


def test_each_recipient_s_wish_is_read_again() -> None:
    """However its address is spelt, and whichever of the recipients the message was made for."""
    mail = envelope_field(SmtpEnvelope("größe@bank.example", "id 7", "headers"), ASKED) + MAIL

    assert envelope_of(mail, "ada@EXAMPLE.net") == SmtpEnvelope(
        "größe@bank.example", "id 7", "headers", Request(("failure", "delay"), "rfc822;ada+x@example.net")
    )
    assert envelope_of(mail, "b@example.net") == SmtpEnvelope("größe@bank.example", "id 7", "headers", Request(()))
    assert envelope_of(mail, "c@example.net") == SmtpEnvelope("größe@bank.example", "id 7", "headers")


def test_a_mail_that_did_not_come_by_smtp_has_none() -> None:
    """Nobody waits for a report on it."""
    assert envelope_of(MAIL, "ada@example.net") is None


def test_nothing_in_it_can_begin_another_field() -> None:
    """An ENVID may hold any character once it is decoded."""
    field = envelope_field(SmtpEnvelope("a@b.example", "x\r\nSubject: y\x00\u2028"), {})

    assert (field.count(b"\r"), field.count(b"\n"), field.isascii()) == (1, 1, True)
    assert envelope_of(field, "") == SmtpEnvelope("a@b.example", "x\r\nSubject: y\x00\u2028")


def test_the_trace_below_it_is_read_as_without_it() -> None:
    """SPF judges what came by SMTP too."""
    trace = Trace("192.0.2.1", "mx.bank.example", "")
    field = envelope_field(SmtpEnvelope(""), ASKED)

    assert stamped(field + stamp(trace, "gate.example", NOW, "ESMTPS") + MAIL) == trace


@pytest.mark.parametrize(
    "forged",
    [
        b"Clarion-Envelope: x\r\n",
        b"clarion-envelope : x\r\n\ty\r\n",
        b"CLARION-ENVELOPE:\r\n",
        b"Clarion-Envelope\r\n",
        b"Clarion-Envelope: x\n",
    ],
)
@pytest.mark.parametrize("above", [b"", b"Subject: y\r\n"])
def test_it_is_taken_off_whoever_wrote_it(forged: bytes, above: bytes) -> None:
    """A stranger's would send our reports to somebody else; ours is nobody's business."""
    assert without_envelope(above + forged + MAIL) == above + MAIL


def test_one_below_ours_is_taken_off_with_it() -> None:
    """Whoever stores mail without the intake could leave one there."""
    field = envelope_field(SmtpEnvelope("a@b.example"), {})

    assert without_envelope(field + b"Subject: y\r\nCLARION-ENVELOPE: x\r\n" + MAIL) == b"Subject: y\r\n" + MAIL


def test_what_only_speaks_of_it_stays() -> None:
    """A mail about this program is a mail."""
    mail = b"Clarion-Envelopes: 7\r\nSubject: Clarion-Envelope: x\r\n\r\nClarion-Envelope: x\r\n"

    assert without_envelope(mail) == mail
