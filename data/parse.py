"""One raw mail (RFC 5322 octets) into one `Message`, whatever it looks like: what cannot be read is left empty."""

import re
from email import message_from_bytes
from email.message import Message as Mail
from email.parser import BytesHeaderParser, BytesParser
from email.policy import compat32
from hashlib import blake2b

from data import headers
from data.schema import Message
from data.visible import clean, visible_text

MOST_LINES, MOST_HEADER_LINES = 400_000, 20_000
"""Lines of a mail, and of its header, that are read: 25 MiB in base64 have 345,000. Each costs the parser microseconds
and hundreds of octets, so that a mail of nothing but short ones would take a process down."""
BODY_LIMIT = 4_000  # characters kept of the visible text, as in the benchmark's tables

_HEADER_END = re.compile(rb"\n\r?\n")
_ASIDE = re.compile(r"\([^()]*\)")
_PATCH = re.compile(r"\[[^\]]*\bPATCH[^\]]*\]", re.IGNORECASE)
_MACHINE = re.compile(
    r"(?:^|[-_.+])(?:no-?_?reply|do-?not-?reply|bot|robot|daemon|postmaster|root|cron|nagios|zabbix|alerts?|alertmanager|"
    r"monitor(?:ing)?|notifications?|notify|lkp|jenkins|buildbot|syzbot|tipbot)(?:[-_.+\d]|$)"
)
_PARSER_FAILURES = (RecursionError, ValueError, LookupError, AttributeError, TypeError, AssertionError)


class Unreadable(ValueError):
    """Nothing can be made of these octets: they hold neither a header nor text."""


def parse(raw: bytes, *, source: str = "") -> Message:
    """The mail's columns, addresses bare and lower-case, body cut to BODY_LIMIT characters.

    `source` names the list when the mail itself names none. Raises Unreadable, and nothing else.
    """
    mail, text = _read(_bounded(raw))
    if not mail.keys() and not text.strip():
        raise Unreadable("no mail: neither a header nor text; give RFC 5322 octets")
    person, address = _sender(mail)
    subject = headers.field(mail, "Subject")
    automatic = headers.field(mail, "Auto-Submitted").lower()
    return Message(
        list=headers.list_name(mail) or source,
        message_id=headers.first_id(headers.raw_field(mail, "Message-ID")) or _invented_id(raw),
        date=headers.date(mail),
        sender=address,
        sender_name=headers.field(mail, "From"),
        to=_bare(mail, "To"),
        cc=_bare(mail, "Cc"),
        subject=subject,
        in_reply_to=headers.parent_id(mail),
        body=text[:BODY_LIMIT],
        body_len=len(text),
        content_type=mail.get_content_type(),
        auto_submitted=automatic,
        precedence=headers.field(mail, "Precedence").lower(),
        importance=headers.field(mail, "Importance") or headers.field(mail, "X-Priority"),
        is_automated=automatic.startswith("auto-") or bool(_MACHINE.search(address.partition("@")[0])),
        is_patch=bool(_PATCH.search(subject)),
        sender_id=_person(person, address),
    )


def sender(header: bytes) -> str:
    """The sender's column of a mail of which this is the header: what `parse` gives, without reading the rest."""
    named = headers.from_field(header)  # the parser takes its time for every field
    if named is not None and (plain := headers.plain_address(named)):
        return plain
    return _sender(BytesHeaderParser(policy=compat32).parsebytes(named or _bounded(header)))[1]


def _sender(mail: Mail) -> tuple[str, str]:
    """The first name and address of From."""
    return next(iter(headers.addresses(mail, "From")), ("", ""))


def _bounded(raw: bytes) -> bytes:
    """The mail without the lines that are too many."""
    if raw.count(b"\n") <= MOST_HEADER_LINES:
        return raw
    end = _HEADER_END.search(raw)
    size = end.start() if end else len(raw)
    if raw.count(b"\n", 0, size) > MOST_HEADER_LINES:
        raw = _first(raw[:size], MOST_HEADER_LINES) + raw[size:]
    return _first(raw, MOST_LINES) if raw.count(b"\n") > MOST_LINES else raw


def _first(raw: bytes, lines: int) -> bytes:
    return b"\n".join(raw.split(b"\n", lines)[:lines])


def _read(raw: bytes) -> tuple[Mail, str]:
    """The headers and the visible text; a mail nested too deep for the parser keeps its headers and its raw text."""
    try:
        mail = _single(raw) or message_from_bytes(raw, policy=compat32)
        return mail, visible_text(mail)
    except _PARSER_FAILURES:
        head, _, body = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
        return BytesHeaderParser(policy=compat32).parsebytes(head), clean(body.decode("utf-8", "replace"))


def _single(raw: bytes) -> Mail | None:
    """The mail where it has one part, which the parser would only put together again line by line; else None."""
    end = _HEADER_END.search(raw)
    if end is None:
        return None
    mail = BytesParser(policy=compat32).parsebytes(raw[: end.end()])
    if mail.get_content_maintype() in ("multipart", "message") or mail.get_payload():
        return None  # parts, or a header that ends before it seems to
    mail.set_payload(raw[end.end() :].decode("ascii", "surrogateescape"))
    return mail


def _bare(mail: Mail, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address for _, address in headers.addresses(mail, name)))


def _person(name: str, address: str) -> str:
    """Who it is, as far as the mail tells: "Doe, Jane (X)" is "jane doe"; the nameless and "A via B" are an address."""
    shown = " ".join(_ASIDE.sub(" ", name).strip(" '\"").lower().split())
    if not shown or "@" in shown or " via " in shown:
        return address
    family, comma, given = shown.partition(", ")
    return f"{given} {family}" if comma else shown


def _invented_id(raw: bytes) -> str:
    return f"{blake2b(raw, digest_size=16).hexdigest()}@missing.invalid"
