"""Mail that travels open arrives as it came, and no mail is too broken to travel at all."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.encryption.outside import Outside
from serving.encryption.relayed import MOST_LINES, relay
from serving.encryption.sealed import payload
from serving.mail import fits_smtp, split

OUTSIDE = Outside("0000000000007", "clarion@gate.example", "ann@home.example", datetime.fromtimestamp(1e9, UTC))
MAIL = (
    b"From: Ops <ops@bank.example>\r\nTo: ann@home.example,\r\n\tbob@home.example\r\nsubject:disk  full \r\n"
    b"DKIM-Signature: v=1; b=abc\r\nMessage-ID: <1@bank.example>\r\n\r\n 97 % \r\n\r\n\r\n.\r\n"
)
HOSTILE = [
    b"",
    b"\xff\xfe\x00binary",
    b"no header at all",
    b"\r\nbody only\r\n",
    b"From: a@b.example\rSubject: bare CR\r\n\r\nx\r\n",
    b"From: a@b.example\nContent-Type: nonsense\n\nx",
    b"From: a@b.example\n\n" + b"x" * 5000 + b"\n",
    b"From: a@b.example\n\nNUL \0 and bare \r here\n",
    b"From: a@b.example\nX-Long: " + b"y" * 3000 + b"\n\nx\n",
    b"From: a@b.example\nTo: " + b", ".join([b"someone@home.example"] * 200) + b"\n\nx\n",
    b"From: a@b.example\nContent-Type: multipart/mixed; boundary=q\n\n" + b"p" * 2000 + b"\n--q\n\nx\n--q--\n",
    b"From: a@b.example\nContent-Type: multipart/mixed\n\nno boundary\n" + b"z" * 1200 + b"\n",
    b"Content-Transfer-Encoding: base64\nFrom: a@b.example\n\n" + b"QUJD" * 400 + b"\n",
    b"Content-Type: text/plain; charset=klingon\nFrom: a@b.example\n\n\xe9" + b"w" * 1200 + b"\n",
]
NO_MAIL = HOSTILE[:5]


def _read(octets: bytes) -> EmailMessage:
    message = message_from_bytes(octets, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def test_a_mail_is_unchanged_below_the_trace_fields() -> None:
    """A DKIM signature must still verify at the receiver."""
    relayed = relay(MAIL, OUTSIDE)

    assert relayed.endswith(MAIL)
    assert relayed.removesuffix(MAIL) == (
        b"Received: by gate.example (Clarion) id 0000000000007; Sun, 09 Sep 2001 01:46:40 +0000\r\n"
        b"Clarion-Notification: 0000000000007\r\n"
    )


def test_bare_line_feeds_become_crlf_and_nothing_else_changes() -> None:
    """Mail from mailboxes has LF; SMTP servers refuse it since they were smuggled through."""
    assert relay(MAIL.replace(b"\r\n", b"\n"), OUTSIDE) == relay(MAIL, OUTSIDE)


def test_a_mailboxs_own_from_line_does_not_travel() -> None:
    """The mbox separator is no header; a server would take all below it for the body."""
    assert relay(b"From ops Mon Jan  1 00:00:00 2026\n" + MAIL, OUTSIDE) == relay(MAIL, OUTSIDE)


def test_a_mail_without_message_id_gets_ours() -> None:
    """A receiver must recognise a second delivery of it."""
    raw = b"From: a@b.example\r\n\r\nhello\r\n"
    relayed = relay(raw, OUTSIDE)

    assert relayed.endswith(b"Message-ID: <0000000000007@gate.example>\r\n" + raw)
    assert relay(MAIL, OUTSIDE).count(b"Message-ID") == 1


@pytest.mark.parametrize("raw", HOSTILE, ids=range(len(HOSTILE)))
def test_no_mail_is_too_broken_to_travel_open_or_sealed(raw: bytes) -> None:
    """Nothing accepted is lost at the last step because a parser did not like it."""
    relayed = relay(raw, OUTSIDE)
    inner = _read(payload(raw, OUTSIDE.header))

    assert fits_smtp(relayed)
    assert split(relayed) is not None
    assert inner["Content-Type"].params["hp"] == "cipher"


@pytest.mark.parametrize("raw", NO_MAIL, ids=range(len(NO_MAIL)))
def test_what_is_no_mail_arrives_attached_as_its_very_octets(raw: bytes) -> None:
    """The recipient may still make sense of what no parser likes."""
    for octets in (payload(raw, OUTSIDE.header), relay(raw, OUTSIDE)):
        message = _read(octets)
        note, attachment = message.iter_parts()

        assert attachment.get_content() == raw
        assert "attached whole" in note.get_content()
        assert message["From"] == "Clarion <clarion@gate.example>"


def test_long_lines_are_reencoded_say_so_and_decode_to_the_same_text() -> None:
    """998 octets is what SMTP promises; the reader must not notice."""
    text = "long " * 400
    raw = f"From: a@b.example\nSubject: s\nContent-Type: text/plain; charset=utf-8\n\n{text}ü\n".encode()
    message = _read(relay(raw, OUTSIDE))

    assert message["Clarion-Reencoded"]
    assert message.get_content().strip() == f"{text}ü"
    assert _read(relay(MAIL, OUTSIDE))["Clarion-Reencoded"] is None


def test_a_long_list_of_recipients_is_folded_not_attached() -> None:
    """A header that can be folded keeps the mail readable."""
    message = _read(relay(HOSTILE[9], OUTSIDE))

    assert len(message["To"].addresses) == 200
    assert message.get_content().strip() == "x"


@pytest.mark.parametrize(
    "header",
    [b"X: " + b"(" * 900_000, b"X:" + b" " * 900_000, b"X: " + b"a " * 600_000, b"X: y\r\n" * 200_000],
    ids=["no place to fold", "nothing but places", "over 1 MiB", "many fields"],
)
def test_a_monstrous_header_is_bounded_work_and_loses_nothing(header: bytes) -> None:
    """One mail must not hold a worker for minutes, nor be dropped for its size."""
    raw = b"From: a@b.example\r\n" + header.rstrip(b"\r\n") + b"\r\n\r\n" + b"x" * 1200
    _, attachment = _read(relay(raw, OUTSIDE)).iter_parts()

    assert attachment.get_content() == raw


def test_a_body_of_nothing_but_short_lines_is_attached_whole() -> None:
    """Taken apart it would be thirty times its size, in each of the mails that are made ready at once."""
    raw = MAIL + b"y\r\n" * MOST_LINES + b"z" * 1_000 + b"\r\n"
    _, attachment = _read(relay(raw, OUTSIDE)).iter_parts()

    assert attachment.get_content() == raw


def test_only_the_unfit_part_of_several_is_reencoded() -> None:
    """An attachment beside a long line must not be rewritten with it."""
    header = MAIL.partition(b"\r\n\r\n")[0] + b"\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n"
    raw = header + b"--q\r\n\r\nshort  \r\n--q\r\n\r\n" + b"x" * 1500 + b"\r\n--q--\r\n"
    short, long = _read(relay(raw, OUTSIDE)).iter_parts()

    assert short["Content-Transfer-Encoding"] is None
    assert short.get_payload() == "short  "
    assert long["Content-Transfer-Encoding"] == "base64"
    assert long.get_content() == "x" * 1500


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_octets_become_a_mail_that_smtp_carries(octets: bytes, has_header: bool) -> None:
    """Whatever was accepted can be sent, or it would be dead at the last step."""
    raw = b"From: a@b.example\n" + octets if has_header else octets

    assert fits_smtp(relay(raw, OUTSIDE))
    assert _read(payload(raw, OUTSIDE.header))["Content-Type"].params["hp"] == "cipher"
