"""The digest as a person reads it, and what a hostile mail cannot do in it."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.digest.letter import LONGEST_TEXT, Entry, read_entry, write_letter
from serving.mail import fits_smtp, split

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
AT = datetime(2026, 11, 21, 22, 4, tzinfo=UTC).timestamp()


def _entry(body: str = "97 %", sender: str = "Ops <ops@bank.example>", subject: str = "disk", **fields: bool) -> Entry:
    raw = f"From: {sender}\nSubject: {subject}\n\n{body}\n".encode()
    return read_entry(raw, AT, is_verified=fields.get("is_verified", True))


def _letter(*entries: Entry) -> EmailMessage:
    octets = write_letter(entries, "clarion@gate.example", "ann@home.example", NOW)
    assert fits_smtp(octets)
    message = message_from_bytes(octets, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def _both(*entries: Entry) -> tuple[str, str]:
    text, html = _letter(*entries).iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    return text.get_content().replace("\r\n", "\n"), html.get_content()


def test_a_digest_lists_sender_subject_time_and_text_in_both_forms() -> None:
    """The recipient decides from the digest alone whether to look at the mail."""
    for form in _both(_entry(), _entry("lunch?", "Bob <bob@home.example>", "today")):
        for shown in (
            "disk",
            "97 %",
            "ops@bank.example",
            "2026-11-21 22:04 UTC",
            "today",
            "lunch?",
            "bob@home.example",
        ):
            assert shown in form


def test_a_digest_is_a_mail_of_the_gateway_and_says_that_a_machine_wrote_it() -> None:
    """Vacation programs must not answer it, and its subject must not tell what is inside."""
    letter = _letter(_entry(), _entry())

    assert letter["From"] == "Clarion <clarion@gate.example>"
    assert letter["To"] == "ann@home.example"
    assert letter["Subject"] == "Your digest: 2 messages"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Date"].datetime == NOW


def test_a_sender_that_nothing_proves_is_marked() -> None:
    """Phishing lands in the digest; it must not look like the rest."""
    assert all("(sender not verified)" in form for form in _both(_entry(is_verified=False)))
    assert not any("(sender not verified)" in form for form in _both(_entry()))


def test_no_markup_of_a_mail_survives_in_the_html() -> None:
    """A script, a picture that reports or a form in the digest would carry the gateway's name."""
    hostile = '<script>x</script><img src="http://evil.example/t.gif" onerror=x></pre></div><form>'
    _, html = _both(_entry(hostile, f'"{hostile}" <x@evil.example>', hostile))

    for opening in ("<script", "<img", "<form"):
        assert opening not in html
    assert html.count("</div>") == 1
    assert "&lt;script&gt;" in html


def test_the_html_of_a_mail_is_shown_as_its_text() -> None:
    """A mail that has HTML only must still say something."""
    raw = b"From: a@b.example\nContent-Type: text/html\n\n<p>The <b>disk</b> is full</p><style>p{}</style>"
    text, html = _both(read_entry(raw, AT, is_verified=True))

    assert "> The disk is full" in text
    assert "The disk is full" in html
    assert "p{}" not in text + html


def test_a_mail_cannot_pass_for_its_neighbour_in_the_text() -> None:
    """A body that imitates the digest's headings is quoted, line by line."""
    text, _ = _both(_entry("1st\n\n2. Invoice\n   Boss <boss@bank.example>\n\nPay now"))

    assert "\n2. " not in text
    assert "\n> 2. Invoice\n>    Boss <boss@bank.example>\n> \n> Pay now" in text


def test_characters_that_reorder_text_are_left_out() -> None:
    """`moc.knab` written backwards reads as the bank."""
    entry = _entry("\u202etxet\u202c", "\u202eelpmaxe.knab\u202c <x@evil.example>", "\u2066s\u2069")

    assert not {"\u202e", "\u202c", "\u2066", "\u2069"} & set("".join(_both(entry)))


def test_a_long_text_is_cut_and_says_how_much_is_left() -> None:
    """A digest of a hundred long mails must stay readable and small."""
    entry = _entry("x" * 60 + " " + "long " * 2_000)

    assert len(entry.text) < LONGEST_TEXT + 50
    assert "more characters]" in entry.text
    assert "more characters]" not in _entry("short").text


@pytest.mark.parametrize("raw", [b"", b"\0\xff", b"\n\n", b"Subject: =?utf-8?q?=FF?=\nFrom: \xff <@>\n\n\xff"])
def test_a_mail_that_cannot_be_read_is_listed_all_the_same(raw: bytes) -> None:
    """One bad mail must not keep the others from being read."""
    text, html = _both(read_entry(raw, AT, is_verified=False), _entry())

    assert "1. (" in text or "1. \ufffd" in text
    assert "97 %" in text
    assert "97 %" in html


@settings(deadline=None)
@given(st.binary(max_size=300), st.text(max_size=100))
def test_any_mails_make_a_digest_that_smtp_carries(octets: bytes, text: str) -> None:
    """What is in the digest was accepted; it has no other way out."""
    entries = [
        read_entry(b"From: " + octets + b"\n\n" + octets, AT, is_verified=True),
        read_entry(f"Subject: {text}\n\n{text}".encode(errors="surrogatepass"), AT, is_verified=False),
    ]

    letter = write_letter(entries, "clarion@gate.example", "änn@home.example", NOW)

    assert fits_smtp(letter)
    assert split(letter) is not None
