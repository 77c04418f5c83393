"""Raw mails out of whatever holds them, one at a time: memory does not grow with the mailbox.

mbox and mboxrd, Maildir, a folder or a tar of single files, a single file, each plain, .gz or .xz; public-inbox
repositories are read by `data.inbox`.
"""

import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from data.inbox import is_inbox, stored_mails

MAIL_LIMIT = 64 * 1024 * 1024  # octets that are kept of one mail; what is longer is cut
LINE_LIMIT = 1024 * 1024
DAMAGE = (EOFError, OSError, lzma.LZMAError, zlib.error, tarfile.TarError)

_FROM = re.compile(rb"From \S+(?:\s.*\d\d:\d\d.*)?\s*$")
_QUOTED_FROM = re.compile(rb">+From ")


class MailboxError(ValueError):
    """There is no mailbox that can be opened at this path; the message says what is there instead."""


@dataclass(frozen=True, slots=True)
class RawMail:
    """One mail's octets and where they lay (`origin`); `commit` is set for public-inbox repositories."""

    raw: bytes
    origin: str
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Damage:
    """A place where reading had to stop; what came before it was read, what comes after other files is."""

    origin: str
    reason: str


def raw_mails(path: Path) -> Iterator[RawMail | Damage]:
    """Every mail under `path`, and every place that is damaged. Raises MailboxError where there is nothing to open."""
    if not path.exists():
        raise MailboxError(f"{path}: there is no such file or folder")
    if path.is_file():
        return _file(path)
    if is_inbox(path):
        return (RawMail(raw, f"{path.name}:{commit}", commit) for raw, commit in stored_mails(path, MAIL_LIMIT))
    return _folder(path)


def _folder(path: Path) -> Iterator[RawMail | Damage]:
    """A Maildir's `cur` and `new`; of any other folder every file, in the order of their names."""
    parts = [path / name for name in ("cur", "new") if (path / name).is_dir()]
    for part in parts or [path]:
        for file in _files(part):
            yield from _file(file)


def _files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            yield from _files(entry)
        elif entry.is_file() and not entry.name.startswith("."):
            yield entry


def _file(path: Path) -> Iterator[RawMail | Damage]:
    try:
        with path.open("rb") as packed, _unpacked(packed) as stream:
            yield from _stream(stream, path.name)
    except DAMAGE as error:
        yield Damage(path.name, f"reading stopped: {error or type(error).__name__}")


def _unpacked(file: BufferedReader) -> BufferedReader:
    magic = file.peek(6)[:6]
    if magic.startswith(b"\x1f\x8b"):
        return BufferedReader(gzip.GzipFile(fileobj=file))
    if magic == b"\xfd7zXZ\x00":
        return BufferedReader(lzma.LZMAFile(file))
    return file


def _stream(stream: BufferedReader, name: str) -> Iterator[RawMail | Damage]:
    start = stream.peek(512)
    if start[257:262] == b"ustar":
        yield from _tar(stream, name)
    elif start.startswith(b"From "):
        yield from (RawMail(raw, f"{name}#{number}") for number, raw in enumerate(_split(stream), 1))
    else:
        yield RawMail(stream.read(MAIL_LIMIT), name)


def _tar(stream: BufferedReader, name: str) -> Iterator[RawMail]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            archive.members = []  # type: ignore[attr-defined]  # tarfile would remember every member
            if content is not None:
                yield RawMail(content.read(MAIL_LIMIT), f"{name}/{member.name}")


def _split(stream: BufferedReader) -> Iterator[bytes]:
    """The mails of an mbox: each begins after a `From ` line that follows an empty one; `>From ` loses one `>`."""
    lines: list[bytes] = []
    size, after_empty = 0, True
    stream.readline(LINE_LIMIT)
    for line in iter(lambda: stream.readline(LINE_LIMIT), b""):
        if after_empty and _FROM.match(line):
            yield _joined(lines)
            lines, size = [], 0
        elif size < MAIL_LIMIT:
            lines.append(line[1:] if _QUOTED_FROM.match(line) else line)
            size += len(line)
        after_empty = not line.strip()
    yield _joined(lines)


def _joined(lines: Iterable[bytes]) -> bytes:
    """One mail without the empty line that the mailbox put behind it."""
    raw = b"".join(lines)
    return raw[:-1] if raw.endswith(b"\n\n") else raw
