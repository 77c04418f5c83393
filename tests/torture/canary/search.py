"""The search for tokens in files, a block at a time: a file may be larger than memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tests.torture.canary.tokens import LONGEST_WRITTEN, Form, Tokens

BLOCK = 4 << 20
CUT_OFF = "a token that was cut off"

Progress = Callable[[int], None]
"""Told how many octets more have been searched."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A token where none may be. `offset` is in octets, and about right where the token is broken into lines."""

    file: str
    offset: int
    form: str
    owner: str


@dataclass(frozen=True, slots=True)
class _Window:
    """Octets from `offset` on, of which so many are `new`."""

    offset: int
    octets: bytes
    new: int
    is_last: bool


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
        for window in _windows(file):
            for at, form, owner in self._in_window(window):
                found.setdefault((form.name, owner), Hit(name, window.offset + at, form.name, owner))
            progress(window.new)
        return list(found.values())

    def _in_window(self, window: _Window) -> Iterator[tuple[int, Form, str]]:
        """Where each token begins, in which form, and whose it is."""
        unfolded = _unfold(window.octets)
        is_folded = len(unfolded) < len(window.octets)
        for form in self._patterns:
            whole = not (form.is_folded and is_folded)  # else the unfolded text tells whose a broken token is
            yield from self._find(form, window.octets, window.is_last, is_cut_told=whole)
            if not whole:
                yield from self._find(form, unfolded, window.is_last, is_cut_told=True)

    def _find(self, form: Form, octets: bytes, is_last: bool, *, is_cut_told: bool) -> Iterator[tuple[int, Form, str]]:
        pattern = self._patterns[form]
        at = octets.find(pattern)
        while at >= 0:
            owner = self._tokens.owner(form, octets[at : at + LONGEST_WRITTEN])
            is_complete = is_last or at + LONGEST_WRITTEN <= len(octets)  # else the next window has all of it
            if owner is not None:
                yield at, form, owner
            elif is_cut_told and is_complete:
                yield at, form, CUT_OFF
            at = octets.find(pattern, at + len(pattern))


def _windows(file: BinaryIO) -> Iterator[_Window]:
    """Blocks, each after the end of the one before."""
    kept, offset = b"", 0
    block = file.read(BLOCK)
    while block:
        following = file.read(BLOCK)
        window = kept + block
        yield _Window(offset, window, len(block), is_last=not following)
        kept, block = window[-2 * LONGEST_WRITTEN :], following
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
