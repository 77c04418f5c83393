"""Sealing at rest: who holds a public key can write what only the holder of the private key reads.

A sealed blob is the key's id (4 octets: the start of the SHA-256 of the public key) followed by libsodium's
`crypto_box_seal` (X25519, XSalsa20-Poly1305 under a key of its own), which is
authenticated: what was altered does not open.
"""

import base64
import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from nacl.bindings import crypto_box_SEALBYTES
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from serving.addresses import canonical_address
from serving.durable import sync_folder
from serving.errors import ConfigurationError, Unsealable

Purpose = Literal["content", "delivery"]
PURPOSES: tuple[Purpose, ...] = ("content", "delivery")
KEY_SIZE = 32
ID_SIZE = 4
OVERHEAD = ID_SIZE + crypto_box_SEALBYTES


class SealingKey:
    """Seals; cannot open what it sealed."""

    def __init__(self, public: bytes) -> None:
        self._id = _key_id(public)
        self._box = SealedBox(PublicKey(public))

    @property
    def id(self) -> bytes:
        """4 octets, with which everything that it seals begins."""
        return self._id

    def seal(self, plaintext: bytes) -> bytes:
        """The plaintext sealed, `OVERHEAD` octets longer; sealing twice gives different octets."""
        return self._id + self._box.encrypt(plaintext)


class UnsealingKey:
    """Opens what the matching `SealingKey` sealed."""

    def __init__(self, private: bytes) -> None:
        key = PrivateKey(private)
        self._sealing_key = SealingKey(bytes(key.public_key))
        self._box = SealedBox(key)

    @property
    def sealing_key(self) -> SealingKey:
        """The public half: whoever opens may seal as well."""
        return self._sealing_key

    def unseal(self, sealed: bytes) -> bytes:
        """The plaintext.

        Raises:
            Unsealable: the blob is sealed for another key, cut short or altered.
        """
        key_id = sealed[:ID_SIZE]
        if key_id != self.sealing_key.id:
            raise Unsealable(f"sealed for key {key_id.hex()}, this process holds {self.sealing_key.id.hex()}")
        try:
            return self._box.decrypt(sealed[ID_SIZE:])
        except (CryptoError, ValueError, TypeError):
            raise Unsealable(f"sealed for key {key_id.hex()} but altered or cut short") from None


class LookupKey:
    """Turns addresses and history keys into 32 octets that tell nothing to who lacks the key (HMAC-SHA256)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def address(self, address: str) -> bytes:
        """The same 32 octets for every spelling of one address."""
        return self._digest(b"address", canonical_address(address))

    def counter(self, key: str) -> bytes:
        """32 octets for a history counter's key; never equal to an address's."""
        return self._digest(b"counter", key)

    def derive(self, purpose: str) -> bytes:
        """A key of 32 octets for another purpose; it tells nothing of this one."""
        return self._digest(b"key", purpose)

    def _digest(self, domain: bytes, text: str) -> bytes:
        return hmac.digest(self._key, domain + b"\0" + text.encode(errors="surrogatepass"), "sha256")


def have_keys(folder: Path) -> bool:
    """Whether `create_keys` has been here, even if a file is missing since: then `keyring.check_keys` says which."""
    return folder.is_dir() and any(folder.iterdir())


def create_keys(folder: Path) -> None:
    """Write a new set of keys, each file mode 0600: the whole set or, after a crash, none of it.

    Raises:
        ConfigurationError: the folder holds something already; keys are never overwritten.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_set(staging)
        staging.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise ConfigurationError(f"cannot create keys in {folder}: {error.strerror}; nothing was overwritten") from None


def load_lookup(folder: Path) -> LookupKey:
    """The lookup key. Raises ConfigurationError naming the file that is missing or damaged."""
    return LookupKey(read_key(_lookup_file(folder)))


def write_new(path: Path, content: bytes) -> None:
    """Write a secret file, mode 0600, complete and on disk, or not at all. Raises FileExistsError where one is."""
    descriptor, staging = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(staging, path)
    finally:
        Path(staging).unlink()
    sync_folder(path.parent)


def encode_key(name: str, key: bytes) -> bytes:
    """A key file's content: the form's version, the name, the key in base64."""
    return f"clarion-1 {name} {base64.b64encode(key).decode()}\n".encode()


def read_key(path: Path, name: str | None = None) -> bytes:
    """The 32 octets of a key file, in which `name` stands (by default that of the file).

    Raises:
        ConfigurationError: it is missing, damaged, or another key's; the message names it.
    """
    try:
        version, found, encoded = path.read_text("ascii").split()
        key = base64.b64decode(encoded, validate=True)
    except FileNotFoundError:
        raise ConfigurationError(
            f"no key file {path}; restore it from a backup, or run `clarion keys create` where there never were any"
        ) from None
    except PermissionError:
        raise ConfigurationError(f"key file {path} is not readable by this user") from None
    except (ValueError, OSError):
        raise ConfigurationError(f"key file {path} is damaged; restore it from a backup") from None
    if (version, found, len(key)) != ("clarion-1", name or path.name, KEY_SIZE):
        raise ConfigurationError(f"key file {path} holds another key; restore it from a backup")
    return key


def _write_set(folder: Path) -> None:
    for purpose in PURPOSES:
        private = PrivateKey.generate()
        write_new(folder / f"{purpose}.private", encode_key(f"{purpose}.private", bytes(private)))
        write_new(folder / f"{purpose}.public", encode_key(f"{purpose}.public", bytes(private.public_key)))
    write_new(_lookup_file(folder), encode_key("lookup.key", secrets.token_bytes(KEY_SIZE)))


def _lookup_file(folder: Path) -> Path:
    return folder / "lookup.key"


def _key_id(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()[:ID_SIZE]
