"""A mail as octets: its fields and body taken apart without touching them, and what SMTP can carry."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache, cached_property
from typing import NamedTuple

LONGEST_LINE = 998
LARGEST_HEADER = 1 << 20
UNREADABLE_SUBJECT = "A mail that could not be read"
UNREADABLE_NOTE = "This mail could not be read as one. It is attached whole, as it came; treat it with care.\n"

MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,250}>")
"""One that can be told back (RFC 5322 section 3.6.4)."""

_MBOX_LINE = re.compile(rb"\AFrom [^\r\n]*\r?\n")
_HEADER_END = re.compile(rb"\n\r?\n")  # it and the next two begin with an octet that can be looked for, which is fast
_BARE_LF = re.compile(rb"\n(?<!\r\n)")
_VALUE = rb"[ \t]*+:([^\r\n\0]*+(?:\r\n[ \t][^\r\n\0]*+)*+)"  # possessive: in one pass, whatever stands there
_FIELD = rb"([!-9;-~]++)" + _VALUE
_HEADER = re.compile(rb"(?:\r\n%b)++" % _FIELD)
_FIELDS = re.compile(rb"\r\n(%b)" % _FIELD)
_LINE = rb"[^\r\n\0]{0,%d}+" % LONGEST_LINE
_LINES = re.compile(rb"(?:%b\r\n)*+%b" % (_LINE, _LINE))


class Field(NamedTuple):
    """One header field. `name` is lower-case; `octets` are as they came, folds as CRLF, without the last line end."""

    name: str
    octets: bytes

    @property
    def value(self) -> bytes:
        """What follows the colon, unfolded and stripped."""
        return _unfolded(self.octets.partition(b":")[2])


@dataclass(frozen=True)
class Mail:
    """`header`: one field or more, CRLF before each, as they came otherwise; `body` as it came."""

    header: bytes
    body: bytes

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields in their order; they are taken apart once, and only where somebody asks."""
        return tuple([Field(name.decode().lower(), octets) for octets, name, _ in _FIELDS.findall(self.header)])

    def first(self, name: str) -> bytes:
        """The value of the first field of that name, in lower case; b"" where there is none."""
        found = fields_named(name).search(self.header)
        return _unfolded(found[1]) if found else b""

    @property
    def message_id(self) -> str:
        """The Message-ID in its angle brackets; empty where there is none that can be told back."""
        value = self.first("message-id")
        return value.decode("ascii") if MESSAGE_ID.fullmatch(value) else ""


def split(raw: bytes) -> Mail | None:
    """The mail taken apart; None where what stands before the first empty line is no header, or one over 1 MiB."""
    if raw.startswith(b"From "):
        raw = _MBOX_LINE.sub(b"", raw)
    end = _HEADER_END.search(raw)
    header, body = (raw[: end.start()].removesuffix(b"\r"), raw[end.end() :]) if end else (raw, b"")
    if len(header) > LARGEST_HEADER:
        return None
    header = b"\r\n" + header.replace(b"\r\n", b"\n").rstrip(b"\n").replace(b"\n", b"\r\n")
    return Mail(header, body) if _HEADER.fullmatch(header) else None


@cache
def fields_named(*names: str) -> re.Pattern[bytes]:
    """Finds the fields of these names in a `header`, each with the CRLF before it; group 1 is its value, folded."""
    alternatives = b"|".join(re.escape(name.encode()) for name in names)
    return re.compile(rb"\r\n(?:%b)%b" % (alternatives, _VALUE), re.IGNORECASE)


def with_crlf(octets: bytes) -> bytes:
    """The octets with CRLF for each bare LF; nothing else changes."""
    if b"\r" not in octets:
        return octets.replace(b"\n", b"\r\n")
    if _BARE_LF.search(octets) is None:
        return octets
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def fits_smtp(octets: bytes) -> bool:
    """Whether SMTP carries the octets as they are: CRLF only, no NUL, no line over 998 octets (RFC 5321 4.5.3.1.6)."""
    return _LINES.fullmatch(octets) is not None


def fold(octets: bytes) -> bytes:
    """A field broken before white space so that no line is over 998 octets, as far as there is white space."""
    lines = octets.split(b"\r\n")
    return b"\r\n".join(piece for line in lines for piece in _pieces(line))


def attached(raw: bytes) -> bytes:
    """A MIME entity, CRLF and 7-bit, that carries octets which are no mail as an attachment, whole."""
    message = EmailMessage(policy=SMTP)
    message.set_content(UNREADABLE_NOTE)
    message.add_attachment(raw, maintype="application", subtype="octet-stream", filename="unreadable.eml")
    return message.as_bytes()


def _pieces(line: bytes) -> Iterator[bytes]:
    start = 0
    while len(line) - start > LONGEST_LINE:
        cut = max(line.rfind(space, start + 1, start + LONGEST_LINE + 1) for space in (b" ", b"\t"))
        if cut < 0 or not line[start:cut].strip():
            break
        yield line[start:cut]
        start = cut
    yield line[start:]


def _unfolded(value: bytes) -> bytes:
    return value.replace(b"\r\n", b"").strip()
