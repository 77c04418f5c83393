"""MAIL and RCPT, as RFC 5321 and its extensions have them, and as they come in the wild."""

import pytest

from serving.envelope import Request
from serving.intake.commands import Mail, Rcpt, read_mail, read_rcpt
from serving.intake.replies import Refusal

LARGEST = 1_000


def mail(argument: str | None, *, is_extended: bool = True) -> Mail | str:
    try:
        return read_mail(argument, largest=LARGEST, is_extended=is_extended)
    except Refusal as refusal:
        return refusal.reply[:9]


def rcpt(argument: str, *, is_utf8: bool = False) -> Rcpt | str:
    try:
        return read_rcpt(argument, is_utf8=is_utf8, is_extended=True)
    except Refusal as refusal:
        return refusal.reply[:9]


@pytest.mark.parametrize(
    ("argument", "sender"),
    [
        ("FROM:<a@b.example>", "a@b.example"),
        ("from: <a@b.example>", "a@b.example"),
        ("FROM:<>", ""),
        ("FROM:a@b.example", "a@b.example"),
        ("FROM:<root@localhost>", "root@localhost"),
        ("FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("FROM:<@relay.example,@other.example:a@b.example>", "a@b.example"),
        ('FROM:<"a b"@c.example>', '"a b"@c.example'),
        ('FROM:<"a>\\"b"@c.example>', '"a>\\"b"@c.example'),
        ("FROM:<a@b.example> SIZE=1000 BODY=8bitmime AUTH=<>", "a@b.example"),
    ],
)
def test_senders_are_read(argument: str, sender: str) -> None:
    """Old devices write them in old ways, and their alarms count too."""
    assert mail(argument) == Mail(sender)


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        (None, "501 5.5.4"),
        ("a@b.example", "501 5.5.4"),
        ("FROM:", "501 5.5.4"),
        ("FROM:<a@b.example", "501 5.5.4"),
        ("FROM:<a@b.example>x", "501 5.5.4"),
        ("FROM:<a b@c.example>", "501 5.5.4"),
        ("FROM:<a>", "553 5.1.7"),
        ("FROM:<@b.example>", "553 5.1.7"),
        (f"FROM:<{'a' * 65}@b.example>", "553 5.1.7"),
        (f"FROM:<a@{'b' * 260}.example>", "553 5.1.7"),
        ("FROM:<a\x07@b.example>", "553 5.1.7"),
        ("FROM:<ä@b.example>", "553 5.6.7"),
        ("FROM:<\udcff@b.example> SMTPUTF8", "553 5.6.7"),
        ("FROM:<a@b.example> SIZE=1001", "552 5.3.4"),
        ("FROM:<a@b.example> SIZE=999999999999999999999", "501 5.5.4"),
        ("FROM:<a@b.example> SIZE=-1", "501 5.5.4"),
        ("FROM:<a@b.example> SIZE=٣", "501 5.5.4"),
        ("FROM:<a@b.example> BODY=BINARYMIME", "501 5.5.4"),
        ("FROM:<a@b.example> SMTPUTF8=1", "501 5.5.4"),
        ("FROM:<a@b.example> RET=SOME", "501 5.5.4"),
        ("FROM:<a@b.example> RET=FULL RET=FULL", "501 5.5.4"),
        ("FROM:<a@b.example> ENVID=", "501 5.5.4"),
        ("FROM:<a@b.example> ENVID=a+2", "501 5.5.4"),
        ("FROM:<a@b.example> ENVID=a+2b", "501 5.5.4"),
        ("FROM:<a@b.example> ENVID=a+0A", "501 5.5.4"),
        ("FROM:<a@b.example> ENVID=a=b", "501 5.5.4"),
        (f"FROM:<a@b.example> ENVID={'a' * 101}", "501 5.5.4"),
        ("FROM:<a@b.example> HOLDFOR=9", "555 5.5.4"),
    ],
)
def test_what_is_no_mail_command_has_its_code(argument: str | None, reply: str) -> None:
    """The sender's server shows it to a person, who must see what is wrong."""
    assert mail(argument) == reply


def test_what_mail_asks_is_decoded() -> None:
    """RFC 3461 section 4: xtext on the wire, text for whoever reports."""
    assert mail("FROM:<ä@b.example> SMTPUTF8 RET=full ENVID=a+3Db+20c") == Mail("ä@b.example", True, "a=b c", "full")


def test_helo_has_no_parameters() -> None:
    """Who does not speak ESMTP cannot have asked for it."""
    assert mail("FROM:<a@b.example> SIZE=1", is_extended=False) == "555 5.5.4"
    assert mail("FROM:<a@b.example>", is_extended=False) == Mail("a@b.example")


@pytest.mark.parametrize(
    ("argument", "request_"),
    [
        ("TO:<a@b.example>", Request()),
        ("TO:<a@b.example> NOTIFY=never", Request(())),
        ("TO:<a@b.example> NOTIFY=SUCCESS,failure,DELAY", Request(("success", "failure", "delay"))),
        ("TO:<a@b.example> ORCPT=rfc822;A+2Bx@b.example", Request(None, "rfc822;A+x@b.example")),
        ("TO:<a@b.example> ORCPT=utf-8;\\x{E4}@b.example", Request(None, "utf-8;\\x{E4}@b.example")),
    ],
)
def test_what_rcpt_asks_is_read(argument: str, request_: Request) -> None:
    """For each recipient by itself."""
    assert rcpt(argument) == Rcpt("a@b.example", request_)


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("TO:<>", "553 5.1.3"),
        ("TO:<a>", "553 5.1.3"),
        ("TO:<a@localhost>", "553 5.1.3"),
        ("TO:<a@[192.0.2.1]>", "553 5.1.3"),
        ("TO:<a..b@c.example>", "553 5.1.3"),
        ("TO:<a\x00@c.example>", "553 5.1.3"),
        ("TO:<ä@b.example>", "553 5.6.7"),
        ("TO:<a@bücher.example>", "553 5.6.7"),
        ("TO:<a@b.example> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("TO:<a@b.example> NOTIFY=DELAY,DELAY", "501 5.5.4"),
        ("TO:<a@b.example> NOTIFY=ALWAYS", "501 5.5.4"),
        ("TO:<a@b.example> NOTIFY", "501 5.5.4"),
        ("TO:<a@b.example> ORCPT=a@b.example", "501 5.5.4"),
        ("TO:<a@b.example> ORCPT=rfc822;", "501 5.5.4"),
        ("TO:<a@b.example> ORCPT=rfc822;a+00b", "501 5.5.4"),
        ("TO:<a@b.example> ORCPT=utf-8;ä@b.example", "501 5.5.4"),
        (f"TO:<a@b.example> ORCPT=rfc822;{'a' * 500}", "501 5.5.4"),
        ("TO:<a@b.example> RET=FULL", "555 5.5.4"),
    ],
)
def test_what_is_no_recipient_has_its_code(argument: str, reply: str) -> None:
    """With 553 5.6.7 where only SMTPUTF8 is missing (RFC 6531 section 3.5)."""
    assert rcpt(argument) == reply


@pytest.mark.parametrize(
    ("argument", "recipient"),
    [
        ('TO:<"a b"@c.example>', '"a b"@c.example'),
        ("TO:<@relay.example:a@c.example>", "a@c.example"),
        ("TO:<ä@bücher.example>", "ä@bücher.example"),
    ],
)
def test_unusual_recipients_are_recipients(argument: str, recipient: str) -> None:
    """Quotes, routes and all of Unicode."""
    assert rcpt(argument, is_utf8=True) == Rcpt(recipient, Request())
