"""The digest as a person reads it, and what a hostile mail cannot do in it."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.digest.letter import LONGEST_TEXT, Cover, Entry, grouped, read_entry, write_letter
from serving.digest.stage import Digest, Post
from serving.errors import Unsealable
from serving.mail import fits_smtp, split
from serving.pipeline import Bundled
from serving.sealing import UnsealingKey
from serving.web.token import Links
from tests.unit import works

KEY = UnsealingKey(b"\x11" * 32)
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
LINK, FEWER = "https://gate.example/r/was_urgent.token", "https://gate.example/u/token"
AT = datetime(2026, 11, 21, 22, 4, tzinfo=UTC).timestamp()


COVER = Cover("clarion@gate.example", "ann@home.example", NOW.timestamp(), unsubscribe=FEWER)


def _entry(body: str = "97 %", sender: str = "Ops <ops@bank.example>", subject: str = "disk", **fields: bool) -> Entry:
    raw = f"From: {sender}\nSubject: {subject}\n\n{body}\n".encode()
    return read_entry(raw, AT, is_verified=fields.get("is_verified", True))


def _letter(*entries: Entry) -> EmailMessage:
    return _read(write_letter(entries, COVER))


def _read(octets: bytes) -> EmailMessage:
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
            "From 2 senders,",
        ):
            assert shown in form
    assert all("From 1 sender," in form for form in _both(_entry(), _entry()))


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

    plain = _both(_entry("x", "x <x@evil.example>", "x"))[1]

    for name in ("script", "img", "form", "div", "pre"):
        assert html.count(f"<{name}") == plain.count(f"<{name}")
        assert html.count(f"</{name}") == plain.count(f"</{name}")
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

    assert "2. (" in text or "2. \ufffd" in text
    assert "97 %" in text
    assert "97 %" in html


def test_text_and_html_tell_the_same() -> None:
    """Whoever reads one of them misses nothing of the other: mail, links and the way to fewer digests."""
    entries = [
        replace(_entry(f"body {number}", subject=f"subject {number}"), link=f"{LINK}{number}") for number in "123"
    ]
    text, html = _both(*entries, _entry(is_verified=False))
    seen = re.sub(r"<[^>]+>", " ", re.sub(r"<a href=\"([^\"]*)\">([^<]*)</a>", r"\2: \1", html.partition("<body>")[2]))

    def words(form: str) -> list[str]:
        return [word for word in unescape(form).split() if word.strip("=->")]

    assert words(text) == words(seen)
    assert text.count(LINK) == 3
    assert text.count(FEWER) == 1


def test_what_came_from_one_sender_stands_together_the_likeliest_urgent_first() -> None:
    """A hundred mails in the order of their arrival hide the one that mattered."""
    mails = [
        ("Ci <ci@b.example>", 0.1, 3),
        ("Ops <ops@b.example>", 0.2, 2),
        ("Ci <ci@b.example>", 0.01, 9),
        ("Ops <ops@b.example>", 0.4, 1),
    ]
    entries = [
        replace(_entry(sender=sender, subject=f"{at}"), score=score, at=float(at)) for sender, score, at in mails
    ]
    forged = replace(_entry(sender="Ops <ops@b.example>", subject="bad", is_verified=False), score=0.9)
    found = grouped([*entries, forged], ZoneInfo("UTC"))

    assert [(f"{group.sender}{group.note}", [each.entry.subject for each in group.entries]) for group in found] == [
        ("Ops <ops@b.example> (2 messages)", ["2", "1"]),
        ("Ci <ci@b.example> (2 messages)", ["9", "3"]),
        ("Ops <ops@b.example> (sender not verified)", ["bad"]),  # never among those of whom it claims to be
    ]
    assert [each.number for group in found for each in group.entries] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("zone", "shown"), [("Europe/Berlin", "2026-11-21 23:04 CET"), ("Asia/Kathmandu", "2026-11-22 03:49 +0545")]
)
def test_times_are_those_of_the_readers_clock(zone: str, shown: str) -> None:
    """Nobody counts hours in the morning."""
    letter = _read(write_letter([_entry()], replace(COVER, zone=ZoneInfo(zone))))
    forms = [part.get_content() for part in letter.iter_parts()]

    assert all(shown in form and f"Times are those of {zone}." in form for form in forms)
    assert letter["Date"].datetime == NOW


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        (FEWER, [("List-Unsubscribe", f"<{FEWER}>"), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")]),
        (f"https://gate.example/u/{'x' * 400}", [
            ("List-Unsubscribe", f"<https://gate.example/u/{'x' * 400}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ]),
        ("http://127.0.0.1:3000/u/token", [("List-Unsubscribe", "<http://127.0.0.1:3000/u/token>")]),
        ("", []),
    ],
)  # fmt: skip
def test_mail_programs_are_told_how_to_get_fewer(url: str, fields: list[tuple[str, str]]) -> None:
    """RFC 8058 wants HTTPS, one URL, unfolded and unencoded; without HTTPS there is no one-click."""
    octets = write_letter([_entry()], replace(COVER, unsubscribe=url))
    mail = split(octets)
    assert mail is not None
    found = [field.octets.decode().split(": ", 1) for field in mail.fields if field.name.startswith("list-")]

    assert [tuple(each) for each in found] == fields


def test_what_nothing_can_correct_has_no_link() -> None:
    """A button that changes nothing teaches people not to press the others."""
    assert not any("was urgent:" in form or "was urgent</a>" in form for form in _both(_entry()))
    assert all("Number 1 was urgent" in form for form in _both(replace(_entry(), link=LINK)))


@settings(deadline=None)
@given(st.binary(max_size=300), st.text(max_size=100))
def test_any_mails_make_a_digest_that_smtp_carries(octets: bytes, text: str) -> None:
    """What is in the digest was accepted; it has no other way out."""
    entries = [
        read_entry(b"From: " + octets + b"\n\n" + octets, AT, is_verified=True),
        read_entry(f"Subject: {text}\n\n{text}".encode(errors="surrogatepass"), AT, is_verified=False),
    ]

    letter = write_letter(entries, replace(COVER, rcpt_to="änn@home.example"))

    assert fits_smtp(letter)
    assert split(letter) is not None


class Gone:
    """A store in which one of two due mails has no body any more."""

    def __init__(self) -> None:
        self.bundled: list[str] = []

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        match name:
            case "notification":
                return [{"facts": {"via": "9"} if parameters["id"] in self.bundled else {}}]
            case "digest_due":
                return [{"id": str(id_), "message": str(id_), "accepted_at": AT, "facts": {}} for id_ in (7, 8)]
            case "body":
                return (
                    []
                    if parameters["message"] == "8"
                    else [{"body": KEY.sealing_key.seal(b"From: a@b.example\n\nx").hex()}]
                )
            case _:
                return []

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        assert name == "bundle"
        self.bundled += parameters["parents"]
        return {"via": "9"}


async def test_a_parent_whose_body_is_gone_is_left_out_and_fails_by_itself() -> None:
    """A digest that waited for it would never be written; a digest without it would pass it off as delivered."""
    store, post = (
        Gone(),
        Post("clarion@gate.example", "https://gate.example/r", "https://gate.example/u", Links(b"k" * 32)),
    )
    digest = Digest(store, KEY, post, lambda: NOW.timestamp())
    address = KEY.sealing_key.seal(b"ann@home.example")
    outcome = await digest.handle(works.work(id=7, address=address))

    assert (outcome, store.bundled) == (Bundled(9), ["7"])
    with pytest.raises(Unsealable, match="the body is gone"):
        await digest.handle(works.work(id=8, address=address))
