"""The search for tokens in files, a block at a time: a file may be larger than memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tests.torture.canary.tokens import LONGEST_WRITTEN, Form, Tokens

BLOCK = 4 << 20

Progress = Callable[[int], None]
"""Told how many octets more have been searched."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A token where none may be. `offset` is in octets, and about right where the token is broken into lines."""

    file: str
    offset: int
    form: str
    owner: str


class Search:
    """Looks for all of a run's tokens in every form. The same token in the same form counts once in a file."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._patterns = tokens.patterns()

    def file(self, path: Path, progress: Progress) -> list[Hit]:
        """The hits in a file; none where it is gone. Raises OSError where it cannot be read."""
        try:
            with path.open("rb") as file:
                return self.stream(file, str(path), progress)
        except FileNotFoundError:
            return []

    def stream(self, file: BinaryIO, name: str, progress: Progress) -> list[Hit]:
        """The hits in what can still be read."""
        found: dict[tuple[str, str], Hit] = {}
        for offset, octets, size in _windows(file):
            for at, form, owner in self.octets(octets):
                found.setdefault((form.name, owner), Hit(name, offset + at, form.name, owner))
            progress(size)
        return list(found.values())

    def octets(self, octets: bytes) -> Iterator[tuple[int, Form, str]]:
        """Where each token begins, in which form, and whose it is."""
        for form in self._patterns:
            yield from self._find(form, octets)
        unfolded = _unfold(octets)
        if len(unfolded) < len(octets):
            for form in filter(lambda form: form.is_folded, self._patterns):
                yield from self._find(form, unfolded)

    def _find(self, form: Form, octets: bytes) -> Iterator[tuple[int, Form, str]]:
        pattern = self._patterns[form]
        at = octets.find(pattern)
        while at >= 0:
            yield at, form, self._tokens.owner(form, octets[at : at + LONGEST_WRITTEN])
            at = octets.find(pattern, at + len(pattern))


def _windows(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Blocks, each after the end of the one before: offset, octets, and how many of them are new."""
    kept, offset = b"", 0
    while block := file.read(BLOCK):
        window = kept + block
        yield offset, window, len(block)
        kept = window[-2 * LONGEST_WRITTEN :]
        offset += len(window) - len(kept)


def _unfold(octets: bytes) -> bytes:
    """Without line breaks, those of quoted-printable (RFC 2045 section 6.7) among them."""
    return octets.replace(b"=\r\n", b"").replace(b"=\n", b"").translate(None, b"\r\n")


def size_of(path: Path) -> int:
    """Octets of a file; 0 where it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
