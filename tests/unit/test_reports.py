"""A report to a sender: for a person, for programs, and with no more of the mail than its sender may see again."""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTPUTF8
from typing import Any

import pytest
from flufl.bounce import all_failures

from serving.bounces.read import read_bounce
from serving.mail import fits_smtp
from serving.origin import Action, Origin
from serving.reports import LARGEST_RETURN, Report, status_of, write_report

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
GATE, TO = "clarion@gate.example", "bob@receiver.example"
HEADER = "From: Ops <ops@bank.example>\r\nTo: bob@receiver.example\r\nMessage-ID: <1@bank.example>\r\n"
ASKED = Origin("ops@bank.example", "00", "<1@bank.example>", HEADER)
SENT = (
    b"Received: by gate.example (Clarion) id 7; x\r\nClarion-Notification: 7\r\n"
    b"Authentication-Results: gate.example; x\r\nReturn-Path: <ops@bank.example>\r\n"
    b"From: Ops <ops@bank.example>\r\nBcc: eve@bank.example\r\n"
    b"Subject: disk full\r\nMessage-ID: <1@bank.example>\r\n\r\n97 %\r\n"
)
FAILED = Report("abc", "failed", "550 5.1.1 <address> unknown", NOW, NOW, remote="mx.receiver.example")


def written(report: Report = FAILED, origin: Origin = ASKED, to: str = TO, mail: bytes | None = None) -> bytes:
    return write_report(origin, to, report, GATE, mail)


def parts(octets: bytes) -> list[Any]:
    payload = message_from_bytes(octets).get_payload()
    assert isinstance(payload, list)
    return payload


def machine(octets: bytes) -> list[Any]:
    """What it says of the mail, and of its recipient."""
    blocks = parts(octets)[1].get_payload()
    assert isinstance(blocks, list)
    return blocks


def test_a_failure_is_told_in_the_form_of_rfc_3464() -> None:
    """Programs find it where every server of the last thirty years has put it."""
    origin = replace(ASKED, envelope_id="QQ314", original="rfc822;Bob@receiver.example")
    octets = written(origin=origin)
    letter = message_from_bytes(octets, policy=SMTPUTF8)
    about_mail, about_recipient = machine(octets)

    assert (letter.get_content_type(), letter.get_param("report-type")) == ("multipart/report", "delivery-status")
    assert (letter["To"], letter["Auto-Submitted"]) == ("ops@bank.example", "auto-replied")
    assert letter["In-Reply-To"] == letter["References"] == "<1@bank.example>"
    assert dict(about_mail.items()) == {
        "Original-Envelope-Id": "QQ314",
        "Reporting-MTA": "dns; gate.example",
        "Arrival-Date": "Sun, 29 Nov 2026 12:00:00 +0000",
    }
    assert dict(about_recipient.items()) == {
        "Original-Recipient": "rfc822; Bob@receiver.example",
        "Final-Recipient": "rfc822; bob@receiver.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.receiver.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 <address> unknown",
        "Last-Attempt-Date": "Sun, 29 Nov 2026 12:00:00 +0000",
    }
    assert fits_smtp(octets)


def test_foreign_readers_find_whose_mail_it_is() -> None:
    """flufl.bounce is what Mailman reads bounces with; ours reads its own as well."""
    bounce = read_bounce(written())

    assert all_failures(message_from_bytes(written())) == (frozenset(), frozenset({TO.encode()}))
    assert bounce is not None
    assert (bounce.action, bounce.status, bounce.addresses) == ("failed", "5.1.1", frozenset({TO}))


def test_a_delay_says_until_when_it_is_tried() -> None:
    """The one thing that its reader wants to know."""
    octets = written(Report("abc", "delayed", "450 4.2.0 busy", NOW, NOW, until=NOW.replace(month=12, day=4)))
    _, about_recipient = machine(octets)

    assert (about_recipient["Action"], about_recipient["Status"]) == ("delayed", "4.2.0")
    assert about_recipient["Will-Retry-Until"] == "Fri, 04 Dec 2026 12:00:00 +0000"
    assert "until 2026-12-04 12:00 UTC" in octets.decode()


def test_addresses_beyond_ascii_stay_readable_for_programs() -> None:
    """RFC 6533 section 3: the type utf-8, escaped, where the part is of seven bits."""
    _, about_recipient = machine(written(to="jürgen@receiver.example"))
    bounce = read_bounce(written(to="jürgen@receiver.example"))

    assert about_recipient["Final-Recipient"] == r"utf-8; j\x{FC}rgen@receiver.example"
    assert bounce is not None
    assert bounce.addresses == {"jürgen@receiver.example"}


def test_of_sealed_mail_nothing_goes_back_but_what_names_it() -> None:
    """The report may travel open; what travelled sealed must not."""
    back = parts(written(origin=replace(ASKED, returns="full")))[2]

    assert back.get_content_type() == "text/rfc822-headers"
    assert back.get_payload() == HEADER


def test_of_open_mail_the_senders_own_header_goes_back() -> None:
    """Not what was found out on the way, nor who else got it in secret."""
    octets = written(mail=SENT)

    assert b"Subject: disk full" in octets
    assert b"97 %" not in octets
    for word in (b"Bcc", b"Clarion-Notification", b"Authentication-Results", b"Return-Path", b"Received"):
        assert word not in octets


@pytest.mark.parametrize(
    ("action", "size", "is_whole"),
    [("failed", 10, True), ("delayed", 10, False), ("failed", LARGEST_RETURN, False)],
)
def test_the_whole_of_open_mail_goes_back_where_it_was_asked_for(action: Action, size: int, is_whole: bool) -> None:
    """RFC 3461 section 4.3: RET=FULL is for failures; what is large is not sent a second time."""
    mail = SENT + b"x\r\n" * (size // 3)
    octets = written(replace(FAILED, action=action), replace(ASKED, returns="full"), mail=mail)

    assert (b"97 %" in octets) is is_whole
    assert (parts(octets)[2].get_content_type() == "message/rfc822") is is_whole


def test_a_mail_in_utf8_goes_back_under_the_type_for_it() -> None:
    """RFC 6533 section 6: message/global-headers."""
    octets = written(mail=SENT.replace(b"disk full", "Größe".encode()))

    assert parts(octets)[2].get_content_type() == "message/global-headers"
    assert message_from_bytes(octets)["Content-Transfer-Encoding"] == "8bit"


@pytest.mark.parametrize("mail", [b"\0", b"no colon\r\n\r\n", b"From: a\r\n" + b"X: " + b"y" * 2_000 + b"\r\n\r\n"])
def test_a_mail_that_cannot_go_back_as_it_is_does_not(mail: bytes) -> None:
    """The report is what counts."""
    assert parts(written(mail=mail))[2].get_content_type() == "text/rfc822-headers"
    assert fits_smtp(written(mail=mail))


@pytest.mark.parametrize("message_id", ["", "no id", "<a>\r\nBcc: eve@x.example"])
def test_an_odd_message_id_is_not_repeated(message_id: str) -> None:
    """A header of ours holds nothing that somebody else can break out of."""
    letter = message_from_bytes(written(origin=replace(ASKED, message_id=message_id)))

    assert letter["In-Reply-To"] is None
    assert letter["Bcc"] is None


@pytest.mark.parametrize(
    ("reply", "action", "status"),
    [
        ("550 5.1.1 no", "failed", "5.1.1"),
        ("550 no", "failed", "5.0.0"),
        ("tried for 432000 s; last: 450 4.2.0 busy", "failed", "4.2.0"),
        ("tried for 432000 s; last: 450 busy", "failed", "4.0.0"),
        ("tried for 432000 s; last: the connection broke", "failed", "4.4.7"),
        ("the hold for it expired before the receiver had it", "failed", "4.4.7"),
        ("not sent, the address is suppressed: 550 5.1.1 no", "failed", "5.1.1"),
        ("not sent, the address is suppressed: by an operator", "failed", "5.0.0"),
        ("5.1.1 unknown user", "failed", "5.1.1"),
        ("the connection broke", "delayed", "4.0.0"),
        ("250 2.1.5 ok", "relayed", "2.0.0"),
        ("550 5.1.1.1 no", "failed", "5.0.0"),
    ],
)
def test_the_status_is_the_replys_or_what_the_reply_means(reply: str, action: Action, status: str) -> None:
    """RFC 3463; programs decide by it."""
    assert status_of(reply, action) == status
