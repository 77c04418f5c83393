"""Mails out of a public-inbox repository (https://public-inbox.org/design_notes.html), by git alone."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_GIT = ("git", "-c", "safe.directory=*")


class InboxError(ValueError):
    """git cannot read the repository; the message is git's first line."""


def is_inbox(path: Path) -> bool:
    """Whether the folder is a bare or checked-out git repository, or a public-inbox v2 (`git/0.git`, …)."""
    return bool(_repositories(path))


def stored_mails(path: Path, limit: int) -> Iterator[tuple[bytes, str]]:
    """(octets, commit) of every mail ever added, oldest first; a mail is cut at `limit` octets. Raises InboxError."""
    for repository in _repositories(path):
        with _git(repository, "cat-file", "--batch") as blobs, _git(repository, *_LOG) as log:
            for commit, blob in _added(log):
                yield _content(blobs, blob, limit), commit[:12]


_LOG = (
    "log",
    "--reverse",
    "--format=commit %H",
    "--raw",
    "--no-abbrev",
    "--no-renames",
    "--root",
    "-m",
    "--first-parent",
)


def _repositories(path: Path) -> list[Path]:
    if (path / ".git").exists():
        return [path / ".git"]
    if (path / "HEAD").is_file() and (path / "objects").is_dir():
        return [path]
    epochs = [found for found in (path / "git").glob("*.git") if found.stem.isdigit()]
    return sorted(epochs, key=lambda found: int(found.stem))


@contextmanager
def _git(repository: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [*_GIT, "--git-dir", str(repository), *arguments]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
    except FileNotFoundError:
        raise InboxError("git is not installed; it reads public-inbox repositories") from None
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _added(log: subprocess.Popen[bytes]) -> Iterator[tuple[str, str]]:
    """(commit, blob) of everything that a commit adds or replaces, except version 2's deletions (file `d`)."""
    commit = ""
    for line in _pipe(log.stdout):
        if line.startswith(b"commit "):
            commit = line[7:].decode().strip()
        elif line.startswith(b":"):
            meta, _, name = line.rstrip(b"\n").partition(b"\t")
            blob, status = meta.split()[3:5]
            if status != b"D" and name != b"d":
                yield commit, blob.decode()
    if log.wait() != 0:
        raise InboxError("git log failed; the folder is no readable repository")


def _content(blobs: subprocess.Popen[bytes], blob: str, limit: int) -> bytes:
    pipe = _pipe(blobs.stdin)
    pipe.write(blob.encode() + b"\n")
    pipe.flush()
    answer = _pipe(blobs.stdout)
    header = answer.readline().split()
    if len(header) != 3:
        raise InboxError(f"git has no object {blob}; run `git fsck` on the repository")
    size = int(header[2])
    content = answer.read(min(size, limit))
    answer.read(size - len(content) + 1)
    return content


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise InboxError("git has no pipe")
    return pipe
