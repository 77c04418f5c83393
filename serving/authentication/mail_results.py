"""The Authentication-Results field: ours written, those that others wrote in our name removed (RFC 8601)."""

import re
from collections.abc import Sequence

from serving.addresses import canonical_domain
from serving.authentication.mail_finding import Finding, Method

_HEADER_END = re.compile(rb"(?:\A|\r?\n)\r?\n")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_RESULTS = re.compile(rb"authentication-results[ \t]*:(.*)", re.IGNORECASE | re.DOTALL)
_ID = re.compile(rb'"((?:[^"\\]|\\.)*)"|([^\s;()"]+)', re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z0-9._@-]+")


def results_field(findings: Sequence[Finding], authserv_id: str) -> bytes:
    """The field with what was found, folded, with its CRLF; put it above all others (section 5)."""
    parts = [_part(finding) for finding in findings] or ["none"]
    text = ";\r\n\t".join([f"Authentication-Results: {authserv_id}", *parts])
    return f"{text}\r\n".encode("ascii", "replace")


def without_forged(raw: bytes, authserv_id: str) -> bytes:
    """The mail without the fields that claim to be of `authserv_id`, or of nobody that can be read (section 5).

    All else stays as it came. A bare CR ends a line here, since some readers take it so.
    """
    end = _HEADER_END.search(raw)
    size = end.start() if end else len(raw)
    kept = [octets for octets in _fields(raw[:size]) if not _is_forged(octets, authserv_id)]
    return b"".join(kept) + raw[size:]


def _part(finding: Finding) -> str:
    properties = {
        Method.SPF: {"smtp.helo" if finding.is_helo else "smtp.mailfrom": finding.domain},
        Method.DKIM: {"header.d": finding.domain, "header.s": finding.selector},
        Method.DMARC: {"header.from": finding.domain},
        Method.ARC: {"header.as-d": finding.domain, "header.as-s": finding.selector},
    }[finding.method]
    words = [f"{finding.method}={finding.result}"]
    words += [f"reason={_quoted(finding.reason)}"] if finding.reason else []
    words += [f"{name}={_quoted(value)}" for name, value in properties.items() if value]
    return " ".join(words)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _fields(header: bytes) -> list[bytes]:
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
