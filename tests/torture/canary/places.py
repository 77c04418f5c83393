"""Every place where a running Clarion can leave something, and what lies there."""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from tests.torture.canary.house import ROOT, House
from tests.torture.canary.search import Hit, Progress, Search

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked into, never written to
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


@dataclass(slots=True)
class Found:
    """What a run's searches came to. `files` are the paths that were searched, each once."""

    files: set[str] = field(default_factory=set)
    hits: dict[tuple[str, str, str], Hit] = field(default_factory=dict)

    def add(self, name: str, hits: Iterable[Hit]) -> None:
        """A file was searched."""
        self.files.add(name)
        for hit in hits:
            self.hits.setdefault((hit.file, hit.form, hit.owner), hit)


class Places:
    """The house's folders, and what is new since this was made where all processes of the machine write."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._since = time.time()
        self._shared = set(_below(SHARED_MEMORY))

    def files(self) -> list[Path]:
        """All regular files: home, temporary folder, output, the user's own folder, shared memory, core files."""
        shared = [path for path in _below(SHARED_MEMORY) if path not in self._shared]
        return sorted({*_below(self._house.folder), *_below(self._house.scratch), *shared, *self._cores()})

    def search(self, search: Search, found: Found, progress: Progress) -> None:
        """Search them all, and their names."""
        files = self.files()
        for path in files:
            found.add(str(path), search.file(path, progress))
        names = BytesIO(b"\n".join(os.fsencode(path) for path in files))
        found.add("(names)", search.stream(names, "the names of the files", progress))

    def _cores(self) -> Iterable[Path]:
        """Core files that are newer than the run, where core(5) has them."""
        pattern = Path(CORE_PATTERN.read_text(encoding="utf-8").strip())
        folder = pattern.parent if pattern.is_absolute() else ROOT
        for path in folder.glob("*core*") if folder.is_dir() else ():
            with suppress(OSError):
                if path.is_file() and path.stat().st_mtime >= self._since:
                    yield path


def search_unlinked(processes: Mapping[int, str], search: Search, found: Found) -> None:
    """Search the files that have no name any more but are still open: spooled uploads are such files.

    Only root can look into those of a process that is not dumpable.
    """
    for pid, name in processes.items():
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    _search_descriptor(descriptor, name, search, found)


def _search_descriptor(descriptor: Path, owner: str, search: Search, found: Found) -> None:
    target = str(descriptor.readlink())
    if not target.endswith(" (deleted)") or target.startswith("/memfd:"):
        return
    name = f"{target}, open in {owner}"
    found.add(name, search.stream(BytesIO(descriptor.read_bytes()), name, _ignore))


def _below(folder: Path) -> list[Path]:
    """Regular files, links not followed; what vanishes meanwhile is left out."""
    walked = os.walk(folder, onerror=_ignore)
    return [path for where, _, names in walked for path in map(Path(where).joinpath, names) if _is_regular(path)]


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _ignore(_: object) -> None:
    """Nobody needs to know."""
