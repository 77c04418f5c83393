"""Raw octets into a message, whatever they are."""

import math
import tarfile
from email.parser import BytesHeaderParser
from email.policy import compat32
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import headers
from data.parse import BODY_LIMIT, MOST_HEADER_LINES, MOST_LINES, Unreadable, parse, sender
from data.schema import Message

PLAIN = b"""\
Received: from a by b; Mon, 05 Oct 2026 02:14:10 +0000
From: "Okafor, Ada (Northlight)" <Ada.Okafor@Northlight.example>
To: on-call <ONCALL@northlight.example>, Ben <ben@northlight.example>
Cc: ben@northlight.example, undisclosed
Subject: =?utf-8?q?R=C3=A9f?= 12:
 disk full
Date: Mon, 05 Oct 2026 04:14:09 +0200
Message-ID: <one@northlight.example>
In-Reply-To: <zero@northlight.example>
List-Id: Team list <team.northlight.example>
Content-Type: text/plain; charset="iso-8859-1"

caf\xe9 is\r\nfull\x00
"""


def is_clean(message: Message) -> bool:
    """No lone surrogate and no control character anywhere."""
    texts = (
        message.subject,
        message.sender,
        message.sender_name,
        message.message_id,
        message.body,
        *message.recipients,
    )
    return all(text.encode("utf-8") is not None and "\x00" not in text for text in texts)


def test_every_column_is_read() -> None:
    """History, authentication and the model all start from these columns."""
    message = parse(PLAIN)

    assert message.list == "team"
    assert message.message_id == "one@northlight.example"
    assert message.in_reply_to == "zero@northlight.example"
    assert message.date == 1_791_166_449.0
    assert (message.sender, message.sender_id) == ("ada.okafor@northlight.example", "ada okafor")
    assert message.to == ("oncall@northlight.example", "ben@northlight.example")
    assert message.cc == ("ben@northlight.example",)
    assert message.recipients == ("oncall@northlight.example", "ben@northlight.example")
    assert message.subject == "Réf 12: disk full"
    assert message.body == "café is\nfull \n"


def test_html_is_shown_without_markup() -> None:
    """Half of all notifications are HTML only; tags and scripts are not what they say."""
    html = b"<style>p{}</style><p>Pay&nbsp;<b>now</b></p><script>x()</script>"
    raw = b"From: a@b.example\nContent-Type: text/html\n\n" + html

    assert parse(raw).body == "Pay now"


def test_attachments_are_not_the_text() -> None:
    """A log attached as text must not push the mail's own words out."""
    raw = (
        b"From: a@b.example\nContent-Type: multipart/mixed; boundary=X\n\n--X\nContent-Type: text/plain\n"
        b"Content-Disposition: attachment; filename=log.txt\n\nlog\n--X\nContent-Type: text/plain\n\nwords\n--X--\n"
    )

    assert parse(raw).body.strip() == "words"


@pytest.mark.parametrize(
    ("sender", "automatic", "machine"),
    [
        ("no-reply@shop.example", "", True),
        ("bot+12@kernel.example", "", True),
        ("abbot@example.org", "", False),
        ("ada@example.org", "auto-generated", True),
        ("ada@example.org", "no", False),
    ],
)
def test_machines_are_told_from_people(sender: str, automatic: str, machine: bool) -> None:
    """Nobody replies to an alert: the machine-sent slice is judged apart, so it must be found."""
    raw = f"From: {sender}\nAuto-Submitted: {automatic}\n\nwords".encode()

    assert parse(raw).is_automated is machine


def test_a_long_body_is_cut_and_its_length_kept() -> None:
    """A 25 MiB mail must not travel whole through history and model."""
    message = parse(b"From: a@b.example\n\n" + b"x" * (BODY_LIMIT + 7))

    assert (len(message.body), message.body_len) == (BODY_LIMIT, BODY_LIMIT + 7)


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 99 Oct 2026 04:14:09 +0200", "Mon, 05 Oct 99999 04:14:09 +9999"]
)
def test_a_date_that_is_none_is_zero(date: str) -> None:
    """Dates are the sender's word; a bad one must not stop the mail."""
    message = parse(f"From: a@b.example\nDate: {date}\n\nwords".encode())

    assert message.date == 0.0


def test_a_mail_without_an_id_gets_the_same_one_every_time() -> None:
    """Reading a mailbox twice must not make two mails of one."""
    raw = b"From: a@b.example\n\nwords"

    assert parse(raw).message_id == parse(raw).message_id != parse(raw + b"!").message_id


def test_nesting_too_deep_for_the_parser_keeps_the_headers() -> None:
    """A bomb of nested parts is a classic; its sender still decides where it goes."""
    depth = 5_000
    parts = b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(depth))

    message = parse(b"From: a@b.example\nSubject: nested\n" + parts)

    assert (message.sender, message.subject) == ("a@b.example", "nested")


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"\n\n   \n"])
def test_nothing_at_all_is_unreadable(raw: bytes) -> None:
    """The reader keeps such a thing aside instead of inventing a mail."""
    with pytest.raises(Unreadable, match="RFC 5322"):
        parse(raw)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_no_octets_crash_the_parser(raw: bytes) -> None:
    """Whoever can send mail can send anything."""
    try:
        message = parse(b"From: " + raw)
    except Unreadable:
        return

    assert is_clean(message)
    assert math.isfinite(message.date)


@given(
    st.text(max_size=80), st.sampled_from(["From", "To", "Date", "Subject", "Content-Type", "References", "List-Id"])
)
@settings(max_examples=300, deadline=None)
def test_no_header_crashes_the_parser(text: str, name: str) -> None:
    """Header fields are where mail parsers break."""
    assert is_clean(parse(f"{name}: {text}\nX-Kept: 1\n\nwords".encode("utf-8", "surrogatepass")))


@pytest.mark.real_mail
def test_hostile_samples_of_other_parsers_are_survived(real_mail: Path) -> None:
    """829 files that broke somebody's parser once."""
    read, unreadable = 0, []
    with tarfile.open(real_mail / "hostile" / "hostile_mail_samples.tar.gz") as archive:
        for member in filter(tarfile.TarInfo.isfile, archive):
            content = archive.extractfile(member)
            raw = content.read() if content else b""
            try:
                assert is_clean(parse(raw)), member.name
                read += 1
            except Unreadable:
                unreadable.append(raw)

    assert read > 800
    assert all(not raw.strip() for raw in unreadable)


@pytest.mark.parametrize(
    "header",
    [
        b"From: =?utf-8?q?Ann?= <Ann@Home.example>, bob@home.example\r\nSubject: x\r\n\r\n",
        b"From: nobody\r\n\r\n",
        b"Content-Type: message/rfc822\r\nFrom: ann@home.example\r\n\r\n",
        b"no field\r\nFrom: ann@home.example\r\n\r\n",
    ],
)
def test_the_sender_of_a_header_is_that_of_the_whole_mail(header: bytes) -> None:
    """Reports go to the one that authentication was about."""
    assert sender(header) == parse(header).sender


PIECES = (
    b"From: ann@home.example\r\n",
    b"FROM:Ann Lee <Ann@Home.example>\r\n",
    b"from : bob@home.example\r\n",
    b"From: eve@evil.example\n",
    b"From:\r\n eve@evil.example\r\n",
    b"From eve@evil.example\r\n",
    b"From: \xe9ve@evil.example\r\n",
    b"From: a@b.example\r\x0bFrom: c@d.example\r\n",
    b"From-Whom: eve@evil.example\r\n",
    b"X: y\r\n",
    b"X y\r\n",
    b"X: y\x0c\x85\xe2\x80\xa8\r\n",
    b": y\r\n",
    b" folded\r\n",
    b"\tFrom: eve@evil.example\r\n",
    b"\r\n",
    b"\r",
    b"\0",
)


@given(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join))
def test_a_header_that_needs_no_parser_is_read_as_the_parser_reads_it(header: bytes) -> None:
    """A sender that is one for authentication and another for reports could have ours sent to a stranger."""
    by_parser = headers.addresses(BytesHeaderParser(policy=compat32).parsebytes(header), "From")

    assert sender(header) == next(iter(by_parser), ("", ""))[1]


MORE = (
    b"Content-Type: multipart/mixed; boundary=q\r\n",
    b"Content-Type: message/rfc822\r\n",
    b"Content-Type: text/html\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"--q\r\n",
    b"--q--\r\n",
    b"d29yZHM=\r\n",
    b"caf\xe9 \x1c <b>is</b>\n",
)


@given(st.lists(st.sampled_from(PIECES + MORE), max_size=9).map(b"".join))
def test_a_mail_of_one_part_is_read_as_the_parser_of_parts_reads_it(raw: bytes) -> None:
    """It goes line by line, which takes twice as long where there is nothing to find."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("data.parse._single", lambda _: None)
        by_parser = _tried(raw)

    assert _tried(raw) == by_parser


def _tried(raw: bytes) -> Message | None:
    try:
        return parse(raw)
    except Unreadable:
        return None


def test_a_mail_of_nothing_but_short_lines_costs_no_more_than_a_large_one() -> None:
    """Sixteen of them at once would take all memory, and again whenever the process comes back."""
    many = b"a: b\r\n" * (2 * MOST_HEADER_LINES)
    late = b"Subject: early\r\n" + many + b"Subject: late\r\nFrom: eve@evil.example\r\n\r\ntext\r\n"
    body = b"Subject: x\r\n\r\n" + b"y\r\n" * (MOST_LINES + 1000)

    assert parse(late).subject == "early"
    assert parse(late).sender == sender(late) == ""
    assert parse(late).body == "text\n"
    assert parse(body).body_len < 2 * MOST_LINES


def test_a_mail_of_as_many_lines_as_real_ones_have_is_read_whole() -> None:
    """25 MiB in base64, between a short text and one behind it."""
    attached = b"--b\r\nContent-Type: application/pdf\r\n\r\n" + (b"x" * 76 + b"\r\n") * 344_000
    mail = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + attached + b"--b\r\n\r\nbehind\r\n--b--\r\n"

    assert parse(mail).body == "behind"
