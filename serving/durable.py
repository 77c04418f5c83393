"""Folders whose entries must be on disk: a file that was renamed into one survives a power loss only after this."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Return when the folder's entries are on disk (fsync(2) of the folder)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
