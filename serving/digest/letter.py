"""The digest as a mail: text and HTML that tell the same, a group for each sender, what is most likely urgent first.

No markup of a mail survives: in the text every line of a mail is quoted, in the HTML everything is escaped, and
characters that reorder others are left out, so that no mail can pass for the digest's own words or for its neighbour.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from data.parse import Unreadable, parse
from serving.letters import begin_letter
from serving.wishes.hours import UTC

LONGEST_TEXT = 1_500
LONGEST_LINE = 200
TEMPLATES = Path(__file__).parent / "templates"

_REORDERING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One mail as the digest shows it; every field is a single line but `text`. `at` is seconds since the epoch,
    `score` how likely it was urgent, `link` where its reader says that it was; empty where that would change nothing.
    """

    sender: str
    address: str
    subject: str
    at: float
    text: str
    is_verified: bool
    score: float = 0.0
    link: str = ""


@dataclass(frozen=True, slots=True)
class Cover:
    """Whose digest it is, when it is written, in which time zone it tells times, and the URL by which its reader asks
    for fewer of them."""

    mail_from: str
    rcpt_to: str
    now: float
    zone: ZoneInfo = UTC
    unsubscribe: str = ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """An entry in its place; `time` as its reader's clocks showed it."""

    number: int
    entry: Entry
    time: str


@dataclass(frozen=True, slots=True)
class Group:
    """What came from one sender, the newest first."""

    sender: str
    is_verified: bool
    entries: tuple[Numbered, ...]

    @property
    def note(self) -> str:
        """What stands behind the sender: how many there are, and that nothing proves that they are the sender's."""
        many = f" ({len(self.entries)} messages)" if len(self.entries) > 1 else ""
        return f"{many}{'' if self.is_verified else ' (sender not verified)'}"


def read_entry(raw: bytes, accepted_at: float, *, is_verified: bool, score: float = 0.0, link: str = "") -> Entry:
    """The mail in short; `accepted_at` is seconds since the epoch. What cannot be read is listed as that."""
    try:
        mail = parse(raw)
    except Unreadable:
        unreadable = "(a mail that could not be read)"
        return Entry("(no sender)", "", unreadable, accepted_at, "", is_verified, score, link)
    sender = _line(mail.sender_name) or mail.sender or "(no sender)"
    subject, text = _line(mail.subject) or "(no subject)", _shortened(mail.body, mail.body_len)
    return Entry(sender, mail.sender, subject, accepted_at, text, is_verified, score, link)


def write_letter(entries: Sequence[Entry], cover: Cover) -> bytes:
    """The digest, RFC 5322 octets with CRLF; without Message-ID, which is given where it leaves."""
    title, groups = _title(entries), grouped(entries, cover.zone)
    letter = begin_letter(cover.mail_from, cover.rcpt_to, title, datetime.fromtimestamp(cover.now, cover.zone))
    letter.set_content(_text(title, groups, cover))
    html = _template().render(title=title, groups=groups, cover=cover, summary=_summary(groups, cover))
    letter.add_alternative(html, subtype="html")
    return _unsubscribe(cover.unsubscribe) + letter.as_bytes()


def grouped(entries: Sequence[Entry], zone: ZoneInfo) -> tuple[Group, ...]:
    """A group for each sender, numbered through: proven ones first, then by the likeliest urgent, then the newest."""
    by_sender: dict[tuple[bool, str], list[Entry]] = {}
    for entry in sorted(entries, key=lambda each: -each.at):
        by_sender.setdefault((entry.is_verified, entry.address or entry.sender), []).append(entry)
    ordered = sorted(by_sender.values(), key=lambda group: (not group[0].is_verified, -max(e.score for e in group)))
    groups, number = [], 1
    for group in ordered:
        numbered = (Numbered(place, entry, _time(entry.at, zone)) for place, entry in enumerate(group, number))
        groups.append(Group(group[0].sender, group[0].is_verified, tuple(numbered)))
        number += len(group)
    return tuple(groups)


def _unsubscribe(url: str) -> bytes:
    """Both fields of RFC 8058, which wants HTTPS; elsewhere that of RFC 2369 alone. Not by `EmailMessage`, which would
    encode what is longer than its lines."""
    if not url:
        return b""
    one_click = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" if url.startswith("https://") else ""
    return f"List-Unsubscribe: <{url}>\r\n{one_click}".encode()


def _title(entries: Sequence[Entry]) -> str:
    return "Your digest: 1 message" if len(entries) == 1 else f"Your digest: {len(entries)} messages"


def _summary(groups: Sequence[Group], cover: Cover) -> str:
    senders = "1 sender" if len(groups) == 1 else f"{len(groups)} senders"
    return f"From {senders}, what is most likely urgent first. Times are those of {cover.zone.key}."


def _time(at: float, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M %Z}"


def _line(text: str) -> str:
    line = _SPACE.sub(" ", _REORDERING.sub("", text)).strip()
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


def _shortened(text: str, length: int) -> str:
    whole = _REORDERING.sub("", text).strip()
    shown = whole[:LONGEST_TEXT].rstrip()
    left = max(length, len(text.strip())) - len(shown)
    return f"{shown}\n[… {left} more characters]" if left > LONGEST_LINE else whole


def _text(title: str, groups: Sequence[Group], cover: Cover) -> str:
    parts = [f"{title} that could wait.\n{_summary(groups, cover)}\n"]
    for group in groups:
        heading = f"{group.sender}{group.note}"
        parts.append(f"{heading}\n{'=' * min(len(heading), 72)}\n")
        parts += map(_quoted, group.entries)
    if cover.unsubscribe:
        parts.append(f"--\nOne digest a week at most: {cover.unsubscribe}\n")
    return "\n".join(parts)


def _quoted(numbered: Numbered) -> str:
    entry = numbered.entry
    lines = "".join(f"> {line}\n" for line in entry.text.splitlines())
    link = f"\n   Number {numbered.number} was urgent: {entry.link}\n" if entry.link else ""
    return f"{numbered.number}. {entry.subject}\n   {numbered.time}\n\n{lines}{link}"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("digest.html")
