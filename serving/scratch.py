"""A folder for temporary files that is gone afterwards, at the latest when the next start finds it."""

import shutil
import tempfile
from pathlib import Path

PREFIX = "clarion-"


def create(note: Path) -> Path:
    """A new private folder with a short path, for Unix sockets too; `note` remembers it, the last one is removed."""
    remove(note)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    note.write_text(str(folder), encoding="utf-8")
    return folder


def remove(note: Path) -> None:
    """Remove the folder that the note remembers, and the note."""
    if not note.exists():
        return
    folder = Path(note.read_text(encoding="utf-8"))
    if folder.name.startswith(PREFIX) and folder.parent == Path(tempfile.gettempdir()):
        shutil.rmtree(folder, ignore_errors=True)
    note.unlink()
