"""Reads what an IMAP server replies (RFC 9051 section 7); what is no reply that is looked for is passed over."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from serving.identifiers import parse_id

Line = bytes | bytearray
"""A line; literals, which hold what is in a mail, come as a bytearray of their own."""

_FETCH = re.compile(rb"\d+ FETCH \(", re.IGNORECASE)
_UID = re.compile(rb"\bUID (\d+)", re.IGNORECASE)
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)", re.IGNORECASE)
_NOTIFICATION = re.compile(rb"^clarion-notification:\s*([0-9a-z]+)\s*$", re.IGNORECASE | re.MULTILINE)
_VALIDITY = re.compile(rb"\[UIDVALIDITY (\d+)\]", re.IGNORECASE)
_CHANGES = re.compile(rb"\[HIGHESTMODSEQ (\d+)\]", re.IGNORECASE)
_FOLDER = re.compile(rb'\((?P<attributes>[^)]*)\) (?:"(?:\\.|[^"\\])*"|NIL) (?P<name>.+)', re.IGNORECASE)
_GONE = frozenset({b"\\noselect", b"\\nonexistent"})


@dataclass(frozen=True, slots=True)
class View:
    """A folder as it was opened: `validity` of its UIDs, and its last change (RFC 7162; None where none are kept)."""

    validity: int
    change: int | None


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail's UID and flags, and the notification that its header names; None where it names none."""

    uid: int
    flags: frozenset[str]
    notification: int | None


@dataclass(slots=True)
class _Fetched:
    text: bytes
    literals: bytes = field(default=b"")


def read_view(lines: Sequence[Line]) -> View | None:
    """The reply to EXAMINE; None where it says no UIDVALIDITY, so that its UIDs mean nothing."""
    text = b"\n".join(lines)
    validity, change = _VALIDITY.search(text), _CHANGES.search(text)
    return None if validity is None else View(int(validity[1]), int(change[1]) if change else None)


def read_uids(lines: Sequence[Line]) -> tuple[int, ...]:
    """The reply to SEARCH, in order; it may end in `(MODSEQ n)` (RFC 7162 section 3.1.5)."""
    words = b" ".join(line.partition(b"(")[0] for line in lines[:-1]).split()
    return tuple(sorted({int(word) for word in words if word.isdigit()}))


def read_mails(lines: Sequence[Line]) -> list[Mail]:
    """The reply to FETCH of FLAGS and the field Clarion-Notification; of several such fields the first counts, which is
    the one that we wrote above the mail."""
    return [mail for each in _fetched(lines) if (mail := _mail(each)) is not None]


def read_folders(lines: Sequence[Line], attribute: str) -> list[str]:
    """The names in the reply to LIST of folders with that attribute that can be opened, as the server writes them."""
    found = []
    for place, line in enumerate(lines[:-1]):
        match = _FOLDER.match(line)
        attributes = {each.lower() for each in match["attributes"].split()} if match else set()
        if match and attribute.lower().encode() in attributes and not attributes & _GONE:
            found.append(_name(match["name"], lines[place + 1]))
    return [name for name in found if name.isprintable()]


def _fetched(lines: Sequence[Line]) -> Iterator[_Fetched]:
    current: _Fetched | None = None
    for line in lines[:-1]:  # the last one says how it ended
        if isinstance(line, bytearray):
            if current is not None:
                current.literals += bytes(line)
        elif _FETCH.match(line):
            if current is not None:
                yield current
            current = _Fetched(line)
        elif current is not None:
            current.text += b" " + line
    if current is not None:
        yield current


def _mail(fetched: _Fetched) -> Mail | None:
    """None where it is not what was asked for: servers may tell of changed flags at any time."""
    uid, flags = _UID.search(fetched.text), _FLAGS.search(fetched.text)
    if uid is None or flags is None:
        return None
    named = _NOTIFICATION.search(fetched.literals)
    held = frozenset(flags[1].decode("ascii", "replace").split())
    return Mail(int(uid[1]), held, _number(named[1]) if named else None)


def _number(text: bytes) -> int | None:
    try:
        return parse_id(text.decode())
    except ValueError:
        return None


def _name(written: bytes, following: Line) -> str:
    if isinstance(following, bytearray):
        return following.decode("utf-8", "replace")
    name = written.strip().decode("utf-8", "replace")
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if name.startswith('"') else name
