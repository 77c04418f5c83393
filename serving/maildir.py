"""A Maildir that is written durably: a mail is on disk under its final name, or not there."""

import os
import time
from itertools import count
from pathlib import Path

from serving.durable import sync_folder

FOLDERS = ("tmp", "new", "cur")


class Maildir:
    """Delivers into one Maildir; safe for several threads and processes at once."""

    def __init__(self, folder: Path) -> None:
        """Make the folder and its parts where they are missing."""
        self._folder = folder
        self._counter = count(1)
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        sync_folder(folder)

    def deliver(self, mail: bytes) -> str:
        """Write the mail and return its name in `new/` when all of it is on disk. Raises OSError when it is not."""
        name = f"{time.time():.6f}.P{os.getpid()}Q{next(self._counter)}.clarion"
        draft = self._folder / "tmp" / name
        try:
            _write(draft, mail)
            draft.rename(self._folder / "new" / name)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(self._folder / "new")
        return name


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
