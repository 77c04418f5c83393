"""Single header fields of a mail, decoded and never failing: what cannot be read is empty."""

import re
from datetime import UTC
from email.header import decode_header
from email.message import Message as Mail
from email.utils import getaddresses, parsedate_to_datetime

from data.visible import clean

_ID = re.compile(r"<\s*([^<>\s]+)\s*>")
_ADDRESS = re.compile(r"[^\s<>\"(),:;@]+@[^\s<>\"(),:;@]+")
_LIST = re.compile(r"<?([A-Za-z0-9_-]+)\.[^<>]*>?\s*$")
_PLAIN = re.compile(
    r"(?P<shown>[A-Za-z]+(?: [A-Za-z]+)*(?= <)|) ?"
    r"(?P<open><)?(?P<address>[A-Za-z0-9_+=-]+(?:\.[A-Za-z0-9_+=-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)(?(open)>)"
)
_REST = rb"[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+"
_FROM = re.compile(rb"(?:(?!from:)[!-9;-~]++:%b)*+(from:%b)" % (_REST, _REST), re.IGNORECASE)
_NEAR = 65_536  # octets of a header: fewer lines than any bound on lines
_LAST_SECOND = 253_402_300_799.0  # of the year 9999
_FIELD_LIMIT = 65_536  # characters of one field worth reading


def raw_field(mail: Mail, name: str) -> str:
    """The field's text before decoding, unfolded, "" where it is missing."""
    try:
        value = mail.get(name)
    except (LookupError, ValueError, TypeError, IndexError):
        return ""
    if not value:
        return ""
    text = str(value)[:_FIELD_LIMIT].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return " ".join(text.split())


def field(mail: Mail, name: str) -> str:
    """The field's text with encoded words (RFC 2047) decoded."""
    return _decoded(raw_field(mail, name))


def addresses(mail: Mail, name: str) -> list[tuple[str, str]]:
    """(display name, bare lower-case address) of every mailbox in the field; what holds no @ is no address."""
    raw = raw_field(mail, name)
    if plain := _PLAIN.fullmatch(raw):  # as most are; the parser takes a hundred times as long
        return [(plain["shown"], plain["address"].lower())]
    try:
        pairs = getaddresses([raw]) if raw else []
    except (ValueError, IndexError, RecursionError):
        return []
    cleaned = ((_decoded(shown), "".join(clean(address).lower().split())) for shown, address in pairs)
    bare = ((shown, _bare(address)) for shown, address in cleaned)
    return [(shown, address) for shown, address in bare if "@" in address.strip("@")]


def from_field(header: bytes) -> bytes | None:
    """The octets of the first From of a header whose fields begin as all should; None where a parser has to look."""
    found = _FROM.match(header, 0, _NEAR)
    return found[1] if found else None


def plain_address(field: bytes) -> str:
    """The one bare lower-case address in a field's octets; empty where a parser has to look for it."""
    value = field.partition(b":")[2]
    plain = _PLAIN.fullmatch(" ".join(value.decode().split())) if value.isascii() else None
    return plain["address"].lower() if plain else ""


def first_id(text: str) -> str | None:
    """The first message-id in angle brackets, without them."""
    found = _ID.search(text)
    return found.group(1) if found else None


def parent_id(mail: Mail) -> str | None:
    """What the mail answers: In-Reply-To, else the last of References."""
    named = first_id(raw_field(mail, "In-Reply-To"))
    return named or next(iter(reversed(_ID.findall(raw_field(mail, "References")))), None)


def date(mail: Mail) -> float:
    """Seconds since the epoch by Date, else by the newest Received; 0.0 where neither can be read."""
    return _seconds(raw_field(mail, "Date")) or _seconds(raw_field(mail, "Received").rpartition(";")[2])


def list_name(mail: Mail) -> str:
    """The first label of List-Id (RFC 2919)."""
    found = _LIST.search(raw_field(mail, "List-Id"))
    return found.group(1).lower() if found else ""


def _seconds(text: str) -> float:
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return seconds if 0.0 < seconds < _LAST_SECOND else 0.0


def _bare(address: str) -> str:
    """The address inside stray angle brackets, which malformed fields leave behind."""
    return address if "<" not in address and ">" not in address else "".join(_ADDRESS.findall(address)[-1:])


def _decoded(text: str) -> str:
    if "=?" not in text:
        return " ".join(clean(text).split())
    try:
        pieces = decode_header(text)
    except (ValueError, LookupError, TypeError, AssertionError):
        return clean(text)
    return " ".join(clean("".join(_piece(*piece) for piece in pieces)).split())


def _piece(octets: bytes | str, charset: str | None) -> str:
    if isinstance(octets, str):
        return octets
    try:
        return octets.decode(charset or "utf-8")
    except (LookupError, UnicodeError, ValueError):
        return octets.decode("utf-8", "replace")
