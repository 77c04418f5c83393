"""The gateway's own OpenPGP key, which signs what it seals; it lies beside the sealing keys."""

from pathlib import Path

from pysequoia import Tsk

from serving.errors import ConfigurationError
from serving.sealing import write_new

SECRET, CERTIFICATE = "signing.private", "signing.public"


def create_signing_key(folder: Path, mail_from: str) -> None:
    """Write a new key for the gateway's address, mode 0600, and its certificate for the recipients.

    Raises:
        ConfigurationError: there is one already; keys are never overwritten.
    """
    key = Tsk.generate(f"Clarion <{mail_from}>")
    try:
        write_new(folder / SECRET, str(key).encode())
        write_new(folder / CERTIFICATE, str(key.extract_certificate()).encode())
    except FileExistsError:
        raise ConfigurationError(f"{folder} holds a signing key already; nothing was overwritten") from None


def load_signing_key(folder: Path) -> Tsk | None:
    """The key, None where the gateway does not sign. Raises ConfigurationError where the file is damaged."""
    path = folder / SECRET
    try:
        return Tsk.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except Exception:  # PySequoia raises RuntimeError with a backtrace
        raise ConfigurationError(f"key file {path} is damaged or not readable; restore it from a backup") from None
