"""The digest as a mail: text and HTML that list each mail with its sender, subject, time and text in short.

No markup of a mail survives: in the text every line of a mail is quoted, in the HTML everything is escaped, and
characters that reorder others are left out, so that no mail can pass for the digest's own words or for its neighbour.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from data.parse import Unreadable, parse
from serving.letters import begin_letter

LONGEST_TEXT = 1_500
LONGEST_LINE = 200

_REORDERING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SPACE = re.compile(r"\s+")
_STYLE = "border-left:3px solid #ccc;margin:0 0 2em;padding-left:1em"


@dataclass(frozen=True, slots=True)
class Entry:
    """One mail as the digest shows it; every field is a single line but `text`."""

    sender: str
    subject: str
    time: str
    text: str
    is_verified: bool


def read_entry(raw: bytes, accepted_at: float, *, is_verified: bool) -> Entry:
    """The mail in short; `accepted_at` is seconds since the epoch. What cannot be read is listed as that."""
    time = f"{datetime.fromtimestamp(accepted_at, UTC):%Y-%m-%d %H:%M} UTC"
    try:
        mail = parse(raw)
    except Unreadable:
        return Entry("(no sender)", "(a mail that could not be read)", time, "", is_verified)
    sender = _line(mail.sender_name) or mail.sender or "(no sender)"
    return Entry(sender, _line(mail.subject) or "(no subject)", time, _shortened(mail.body, mail.body_len), is_verified)


def write_letter(entries: Sequence[Entry], mail_from: str, rcpt_to: str, now: datetime) -> bytes:
    """The digest, RFC 5322 octets with CRLF; without Message-ID, which is given where it leaves."""
    letter = begin_letter(mail_from, rcpt_to, _title(entries), now)
    letter.set_content(_text(entries))
    letter.add_alternative(_html(entries), subtype="html")
    return letter.as_bytes()


def _title(entries: Sequence[Entry]) -> str:
    return "Your digest: 1 message" if len(entries) == 1 else f"Your digest: {len(entries)} messages"


def _line(text: str) -> str:
    line = _SPACE.sub(" ", _REORDERING.sub("", text)).strip()
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


def _shortened(text: str, length: int) -> str:
    shown = _REORDERING.sub("", text).strip()[:LONGEST_TEXT].rstrip()
    left = max(length, len(text.strip())) - len(shown)
    return f"{shown}\n[… {left} more characters]" if left > LONGEST_LINE else _REORDERING.sub("", text).strip()


def _text(entries: Sequence[Entry]) -> str:
    parts = [f"{_title(entries)} that could wait.\n"]
    for number, entry in enumerate(entries, 1):
        quoted = "\n".join(f"> {line}" for line in entry.text.splitlines())
        parts.append(f"{number}. {entry.subject}\n   {entry.sender}{_warning(entry)}\n   {entry.time}\n\n{quoted}\n")
    return "\n".join(parts)


def _html(entries: Sequence[Entry]) -> str:
    items = "".join(
        f'<div style="{_STYLE}"><h3>{number}. <bdi>{escape(entry.subject)}</bdi></h3>'
        f"<p><bdi>{escape(entry.sender)}</bdi>{escape(_warning(entry))}<br>{entry.time}</p>"
        f'<pre style="white-space:pre-wrap;font:inherit">{escape(entry.text)}</pre></div>\n'
        for number, entry in enumerate(entries, 1)
    )
    return f"<!DOCTYPE html>\n<html><body>\n<h2>{_title(entries)} that could wait.</h2>\n{items}</body></html>\n"


def _warning(entry: Entry) -> str:
    return "" if entry.is_verified else " (sender not verified)"
