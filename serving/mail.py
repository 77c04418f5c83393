"""A mail as octets: its fields and body taken apart without touching them, and what SMTP can carry."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP

LONGEST_LINE = 998
LARGEST_HEADER = 1 << 20
UNREADABLE_SUBJECT = "A mail that could not be read"
UNREADABLE_NOTE = "This mail could not be read as one. It is attached whole, as it came; treat it with care.\n"

MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,250}>")
"""One that can be told back (RFC 5322 section 3.6.4)."""

_MBOX_LINE = re.compile(rb"\AFrom [^\r\n]*\r?\n")
_HEADER_END = re.compile(rb"\n\r?\n")  # it and the next two begin with an octet that can be looked for, which is fast
_BARE_LF = re.compile(rb"\n(?<!\r\n)")
_FIELD_END = re.compile(rb"\n(?![ \t])")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_TOO_LONG = re.compile(rb"(?:\A|\n)[^\r\n]{%d}" % (LONGEST_LINE + 1))


@dataclass(frozen=True, slots=True)
class Field:
    """One header field. `name` is lower-case; `octets` are as they came, folds as CRLF, without the last line end."""

    name: str
    octets: bytes

    @property
    def value(self) -> bytes:
        """What follows the colon, unfolded and stripped."""
        return self.octets.partition(b":")[2].replace(b"\r\n", b"").strip()


@dataclass(frozen=True, slots=True)
class Mail:
    """Fields in their order, and the body as it came."""

    fields: tuple[Field, ...]
    body: bytes

    def first(self, name: str) -> bytes:
        """The value of the first field of that name, b"" where there is none."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return b""

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
    text = header.replace(b"\r\n", b"\n")
    if len(header) > LARGEST_HEADER or b"\0" in text or b"\r" in text:
        return None
    try:
        return Mail(tuple(map(_field, _FIELD_END.split(text.rstrip(b"\n")))), body)
    except ValueError:
        return None


def with_crlf(octets: bytes) -> bytes:
    """The octets with CRLF for each bare LF; nothing else changes."""
    if b"\r" not in octets:
        return octets.replace(b"\n", b"\r\n")
    if _BARE_LF.search(octets) is None:
        return octets
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def fits_smtp(octets: bytes) -> bool:
    """Whether SMTP carries the octets as they are: CRLF only, no NUL, no line over 998 octets (RFC 5321 4.5.3.1.6)."""
    rest = octets.replace(b"\r\n", b"")
    return not any(octet in rest for octet in (b"\r", b"\n", b"\0")) and _TOO_LONG.search(octets) is None


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


def _field(octets: bytes) -> Field:
    """The field, whose folds are LF. Raises ValueError where the octets are none."""
    match = _FIELD.match(octets)
    if match is None:
        raise ValueError("not a header field")
    return Field(match[1].decode("ascii").lower(), octets.replace(b"\n", b"\r\n"))
