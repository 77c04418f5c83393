"""Several keys of one purpose: the newest seals, and all that are kept open what they sealed.

`content.public` and `content.private` hold the newest pair; an older private key is `content.<id>.private`, with the id
in 8 hexadecimal digits. Whoever holds keys follows the folder: a rotation needs no restart.
"""

from contextlib import suppress
from pathlib import Path

from serving.errors import ConfigurationError, KeyNotHeld, Unsealable
from serving.sealing import ID_SIZE, PURPOSES, Purpose, SealingKey, UnsealingKey, load_lookup, read_key

MOST_MISSING = 64
RETRY_AFTER = 60.0
"""Seconds after which mail is tried again whose key is not in the folder."""

Version = tuple[int, int, int]


class CurrentSealingKey(SealingKey):
    """Seals under the key that the public file holds at that moment; one look at the file's date each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: tuple[Version, SealingKey] = _version(path), SealingKey(read_key(path))

    @property
    def id(self) -> bytes:
        """See SealingKey; of the key that would seal now."""
        return self._current().id

    def seal(self, plaintext: bytes) -> bytes:
        """See SealingKey."""
        return self._current().seal(plaintext)

    def _current(self) -> SealingKey:
        """The file's key; the one that was held where the file is gone or damaged, since its private half is kept."""
        version, key = self._held
        with suppress(OSError, ConfigurationError):
            found = _version(self._path)  # before it is read: what comes in between is seen next time
            if found != version:
                key = SealingKey(read_key(self._path))
                self._held = found, key
        return key


class Keyring(UnsealingKey):
    """Opens what any kept key of the purpose sealed, and seals under the newest."""

    def __init__(self, folder: Path, purpose: Purpose) -> None:
        """Raises ConfigurationError naming the file that is missing or damaged."""
        self._folder, self._purpose = folder, purpose
        self._keys = private_keys(folder, purpose)
        self._newest: SealingKey | None = None
        self._missing: dict[bytes, Version] = {}

    @property
    def sealing_key(self) -> SealingKey:
        """The public half of the newest key. Raises ConfigurationError where its file is missing or damaged."""
        if self._newest is None:
            self._newest = load_sealing(self._folder, self._purpose)
        return self._newest

    def unseal(self, sealed: bytes) -> bytes:
        """The plaintext; for a key that is not known yet the folder is read once more.

        Raises:
            KeyNotHeld: the folder has no such key.
            Unsealable: the blob is cut short or altered.
        """
        key_id = sealed[:ID_SIZE]
        if len(key_id) < ID_SIZE:
            raise Unsealable("there is no sealed blob; it was cut short or forgotten")
        key = self._keys.get(key_id) or self._look_again(key_id)
        if key is None:
            raise KeyNotHeld(
                f"no {self._purpose} key {key_id.hex()} in the folder of keys; restore its file from a backup",
                retry_after=RETRY_AFTER,
                is_outage=True,
            )
        return key.unseal(sealed)

    def _look_again(self, key_id: bytes) -> UnsealingKey | None:
        """Nothing is read for a key that was missing before, as long as the folder stays as it is."""
        version = _version(self._folder)
        if self._missing.get(key_id) == version:
            return None
        with suppress(ConfigurationError):
            self._keys = private_keys(self._folder, self._purpose)
        if key_id not in self._keys:
            self._missing = dict([*self._missing.items(), (key_id, version)][-MOST_MISSING:])
        return self._keys.get(key_id)


def load_sealing(folder: Path, purpose: Purpose) -> SealingKey:
    """The public half of the newest pair. Raises ConfigurationError naming the file that is missing or damaged."""
    return CurrentSealingKey(folder / f"{purpose}.public")


def load_unsealing(folder: Path, purpose: Purpose) -> UnsealingKey:
    """All private keys of the purpose. Raises ConfigurationError naming the file that is missing or damaged."""
    return Keyring(folder, purpose)


def check_keys(folder: Path) -> None:
    """Raises ConfigurationError naming the first file that is missing or damaged, or a pair that does not match."""
    load_lookup(folder)
    for purpose in PURPOSES:
        if load_sealing(folder, purpose).id not in private_keys(folder, purpose):
            raise ConfigurationError(f"{purpose}.private and {purpose}.public in {folder} are no pair; restore both")


def private_keys(folder: Path, purpose: Purpose) -> dict[bytes, UnsealingKey]:
    """The private keys by id, the newest first.

    The newest is read before the others are looked for: a rotation in between has linked it as an old one by then.

    Raises:
        ConfigurationError: the newest file is missing, or any is damaged; the message names it.
    """
    newest = UnsealingKey(read_key(folder / f"{purpose}.private"))
    keys = {newest.sealing_key.id: newest}
    for path in old_files(folder, purpose):
        with suppress(FileNotFoundError):
            path.stat()  # it may have been retired a moment ago
            key = _old_key(path, purpose)
            keys.setdefault(key.sealing_key.id, key)
    return keys


def old_files(folder: Path, purpose: Purpose) -> list[Path]:
    """The files of keys that were the newest once."""
    return sorted(folder.glob(f"{purpose}.{'[0-9a-f]' * 2 * ID_SIZE}.private"))


def old_file(folder: Path, purpose: Purpose, key_id: bytes) -> Path:
    """Where a key lies once it is not the newest."""
    return folder / f"{purpose}.{key_id.hex()}.private"


def _old_key(path: Path, purpose: Purpose) -> UnsealingKey:
    """The file is that of the former newest, moved: inside it has that name."""
    key = UnsealingKey(read_key(path, f"{purpose}.private"))
    if path.name != old_file(path.parent, purpose, key.sealing_key.id).name:
        raise ConfigurationError(f"key file {path} holds another key; restore it from a backup")
    return key


def _version(path: Path) -> Version:
    """Another one for another file; (0, 0, 0) where there is none, which `read_key` says better."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size
