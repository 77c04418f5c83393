"""The fields that say how a mail came: ours stamped above it and read again, others' in our name removed.

A mail that somebody relays to us begins with our own Received, and with Return-Path where the relay told where it had
the mail from (RFC 5321 section 4.4). Only what begins so was stamped by us: the gateway stamps every relayed mail.
"""

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from serving.addresses import canonical_domain
from serving.mail import LARGEST_HEADER
from serving.moments import written

LONGEST_PATH = 512
LONGEST_IP = 45
"""Characters of an IPv6 address that ends as an IPv4 address."""

_PATH = re.compile(r"[!-;=?-~\u0080-\U0010ffff]*")  # no blank, no angle bracket, no control character
_HELO = re.compile(r"[A-Za-z0-9_.:\[\]-]+")
_STAMP = re.compile(
    rb"(?:Clarion-Envelope: [^\r\n]*\r\n)?"  # which the SMTP intake writes above it
    rb"Return-Path: <([^<>\r\n]*)>\r\n"
    rb"Received: from ([^ \r\n]+) \(\[(?:IPv6:)?([0-9A-Fa-f:.]+)\]\)\r\n\tby [^\r\n]*\r\n"
)
_HEADER_END = re.compile(rb"\n\r?\n")  # it begins with an octet that can be looked for, which is fast
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_NAMED = re.compile(rb"authentication-results", re.IGNORECASE)
_RESULTS = re.compile(rb"authentication-results[ \t]*:(.*)", re.IGNORECASE | re.DOTALL)
_ID = re.compile(rb'"((?:[^"\\]|\\.)*)"|([^\s;()"]+)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Trace:
    """How a mail came in, None where that is not known. `mail_from` is a bare address, "" a bounce's empty path."""

    client_ip: str | None = None
    helo: str | None = None
    mail_from: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether SPF can be judged at all; a mail that was posted over HTTP may have no such trace."""
        return self.client_ip is not None and self.mail_from is not None


def read_words(client_ip: str, helo: str, mail_from: str) -> Trace | None:
    """A relay's words as a trace that can be stamped; None where they are no address, no name or no path."""
    if len(client_ip) > LONGEST_IP or max(len(helo), len(mail_from)) > LONGEST_PATH:
        return None
    address = _address(client_ip)
    if address is None or not (_HELO.fullmatch(helo) and _PATH.fullmatch(mail_from)):
        return None
    return Trace(address, helo, mail_from)


@lru_cache(maxsize=1024)
def _address(client_ip: str) -> str | None:
    """An address as it is written best; None for what is none. A client's is asked for with each of its mails."""
    if "%" in client_ip:  # a zone, which may hold anything, is nobody's address elsewhere
        return None
    try:
        return str(ipaddress.ip_address(client_ip))
    except ValueError:
        return None


def stamp(trace: Trace, by: str, now: datetime, protocol: str = "") -> bytes:
    """The fields to put above a mail that came in; `by` is our domain, `protocol` such as ESMTPSA (RFC 3848). Nothing
    but `read_words` makes a trace for it."""
    way = f" with {protocol}" if protocol else ""
    received = f"by {by} (Clarion){way}; {written(now)}\r\n"
    if not trace.is_known:
        return f"Received: {received}".encode()
    literal = f"IPv6:{trace.client_ip}" if ":" in (trace.client_ip or "") else trace.client_ip
    origin = f"from {trace.helo} ([{literal}])\r\n\t"
    return f"Return-Path: <{trace.mail_from}>\r\nReceived: {origin}{received}".encode()


def stamped(mail: bytes) -> Trace:
    """What we stamped above a relayed mail; nothing known where we did not know either."""
    match = _STAMP.match(mail)
    if match is None:
        return Trace()
    path, helo, client_ip = (part.decode(errors="replace") for part in match.groups())
    return Trace(client_ip, helo, path)


def without_return_path(mail: bytes) -> bytes:
    """A stamped mail as it travels on: the server that delivers it writes Return-Path, and it is to find none
    (RFC 5321 section 4.4)."""
    return mail if _STAMP.match(mail) is None else mail.partition(b"\r\n")[2]


def without_forged(raw: bytes, authserv_id: str) -> bytes:
    """The mail without the fields that claim to be of `authserv_id`, or of nobody that can be read
    (RFC 8601 section 5).

    All else stays as it came. A bare CR ends a line here, since some readers take it so.
    """
    size = header_size(raw)
    if _NAMED.search(raw, 0, size) is None:
        return raw
    kept = [octets for octets in fields_of(raw[:size]) if not _is_forged(octets, authserv_id)]
    return b"".join(kept) + raw[size:]


def header_size(raw: bytes) -> int:
    """Octets of the mail's header without the line that ends it; at most 1 MiB is looked at."""
    if raw.startswith((b"\n", b"\r\n")):
        return 0
    end = _HEADER_END.search(raw, 0, LARGEST_HEADER + 4)
    if end is None:
        return min(len(raw), LARGEST_HEADER)
    return end.start() - raw.endswith(b"\r", 0, end.start())


def fields_of(header: bytes) -> list[bytes]:
    """The fields of a header with their folds and line ends; joined again they are the header."""
    fields: list[bytes] = []
    folds: list[bytes] = []
    for line in _LINE.findall(header):
        if folds and line[:1] not in (b" ", b"\t"):
            fields.append(b"".join(folds))
            folds = []
        folds.append(line)
    return [*fields, b"".join(folds)]


def _is_forged(field: bytes, authserv_id: str) -> bool:
    match = _RESULTS.fullmatch(field)
    if match is None:
        return False
    name = _ID.match(_without_comments(match[1]))
    if name is None:
        return True
    claimed = name[2] if name[1] is None else re.sub(rb"\\(.)", rb"\1", name[1])
    return _same(claimed.decode(errors="replace"), authserv_id)


def _without_comments(value: bytes) -> bytes:
    """The value from its first octet that is neither blank nor in a comment; b"" where a comment never ends."""
    depth, escaped = 0, False
    for place, octet in enumerate(value):
        character = chr(octet)
        if escaped:
            escaped = False
        elif depth and character == "\\":
            escaped = True
        elif character in "()":
            depth = max(0, depth + (1 if character == "(" else -1))
        elif not depth and not character.isspace():
            return value[place:]
    return b""


def _same(claimed: str, authserv_id: str) -> bool:
    """Whether two names are one, in whatever case and spelling."""
    ours = canonical_domain(authserv_id) or authserv_id.casefold()
    return (canonical_domain(claimed) or claimed.casefold()) == ours
