"""Rotating the sealing keys: a new pair seals, the old private key stays until nothing lies under it.

At every moment the folder opens all that was ever sealed, and whatever `<purpose>.public` seals:

1. the newest private key gets a second name, `<purpose>.<id>.private`;
2. a new private key takes the first name;
3. its public half takes the place of the old one.
"""

import fcntl
import math
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nacl.public import PrivateKey

from serving.durable import sync_folder
from serving.errors import ConfigurationError
from serving.keyring import load_sealing, old_file, old_files, private_keys
from serving.sealing import Purpose, SealingKey, encode_key, read_key

GRACE = 3600.0
"""Seconds for which a replaced key is kept in any case: what it sealed may not have reached the store yet."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The ids of the key that sealed until now and of the one that does from now on."""

    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A private key in the folder. `since`: when it was made, seconds since the epoch."""

    purpose: Purpose
    id: bytes
    since: float
    is_newest: bool


def rotate(folder: Path, purpose: Purpose) -> Rotation:
    """Let a new pair seal; a rotation that was interrupted is brought to its end instead.

    Raises:
        ConfigurationError: a file is missing or damaged, or the folder cannot be written; all keys are still there.
    """
    with _locked(folder):
        for leftover in folder.glob(f".{purpose}.*"):  # of a rotation that was killed
            leftover.unlink()
        old = load_sealing(folder, purpose).id
        newest = next(iter(private_keys(folder, purpose)))
        if newest == old:
            _keep_old(folder, purpose, newest)
            _replace(folder / f"{purpose}.private", bytes(_new_key(folder, purpose)))
        private = PrivateKey(read_key(folder / f"{purpose}.private"))
        _replace(folder / f"{purpose}.public", bytes(private.public_key))
    return Rotation(old, load_sealing(folder, purpose).id)


def kept_keys(folder: Path, purpose: Purpose) -> list[KeptKey]:
    """The newest key, then the old ones.

    Raises:
        ConfigurationError: a file is missing or damaged.
    """
    newest, *old = private_keys(folder, purpose)
    files = {newest: folder / f"{purpose}.private", **{id_: old_file(folder, purpose, id_) for id_ in old}}
    return [KeptKey(purpose, id_, path.stat().st_mtime, id_ == newest) for id_, path in files.items()]


def retire(folder: Path, purpose: Purpose, key_id: bytes, now: float) -> None:
    """Delete an old private key for ever; ask the store first whether anything lies under it.

    Raises:
        ConfigurationError: it seals still, was replaced less than `GRACE` seconds ago, or there is no such key.
    """
    with _locked(folder):
        if key_id in (load_sealing(folder, purpose).id, next(iter(private_keys(folder, purpose)))):
            raise ConfigurationError(f"{key_id.hex()} is the newest {purpose} key; `clarion keys rotate` makes another")
        path = old_file(folder, purpose, key_id)
        if path not in old_files(folder, purpose):
            raise ConfigurationError(f"no old {purpose} key {key_id.hex()} in {folder}; see `clarion keys list`")
        left = (folder / f"{purpose}.public").stat().st_mtime + GRACE - now
        if left > 0:
            raise ConfigurationError(
                f"the {purpose} key was rotated less than an hour ago: what is on its way to the store may lie under "
                f"{key_id.hex()}; try again in {math.ceil(left / 60)} minutes"
            )
        path.unlink()
        sync_folder(folder)


def _new_key(folder: Path, purpose: Purpose) -> PrivateKey:
    """One whose id no kept key has: ids are 4 octets only."""
    held = private_keys(folder, purpose)
    while True:
        private = PrivateKey.generate()
        if SealingKey(bytes(private.public_key)).id not in held:
            return private


def _keep_old(folder: Path, purpose: Purpose, key_id: bytes) -> None:
    with suppress(FileExistsError):  # a rotation that was killed got this far; the id in the name says it is this key
        os.link(folder / f"{purpose}.private", old_file(folder, purpose, key_id))
    sync_folder(folder)


def _replace(path: Path, key: bytes) -> None:
    """The file holds this key, on disk, or still the one before. Whoever could read it still can, whoever rotates."""
    before = path.stat()
    descriptor, staging = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        file.write(encode_key(path.name, key))
        file.flush()
        os.fsync(file.fileno())
    Path(staging).replace(path)
    sync_folder(path.parent)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One rotation at a time (flock(2) of the folder); what the disk refuses is one line."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigurationError(f"no keys in {folder}: {error.strerror}; see CLARION_KEY_FOLDER") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise ConfigurationError(
            f"cannot change the keys in {folder}: {error.strerror}; every key is still there, run it again"
        ) from None
    finally:
        os.close(descriptor)
