"""What must lie ready before the programs of a running Clarion start: keys, the broker's topology, a champion."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from serving.encryption.signing import create_signing_key
from serving.errors import ConfigurationError
from serving.keyring import check_keys
from serving.sealing import create_keys, have_keys
from serving.settings import Settings
from serving.topology import topology

ROOT = Path(__file__).resolve().parent.parent


async def prepare(settings: Settings) -> Path:
    """Make what is missing; returns the folder of the model that `settings.artefact` or `settings.model` names.

    An empty registry gets the starter champion that the repository ships. MLflow and the model's first load have a
    process of their own, so that no serving process carries them.

    Raises:
        ConfigurationError: a folder cannot be made, a key file is missing or damaged, or there is no such model.
    """
    _make_folders(settings)
    if not have_keys(settings.keys):
        make_keys(settings)
    check_keys(settings.keys)
    _make_smime_key(settings)
    topology().write(settings.topology)
    return Path(await _champion(settings))


def make_keys(settings: Settings) -> None:
    """New sealing keys and the gateway's signing keys; ConfigurationError where there are keys already."""
    create_keys(settings.keys)
    create_signing_key(settings.keys, settings.mail_from)
    _make_smime_key(settings)


def _make_smime_key(settings: Settings) -> None:
    """Where there is none: older releases had none, and an address beyond ASCII fits no certificate that we write."""
    from serving.encryption.smime_signing import SECRET, create_smime_signing_key

    if settings.mail_from.isascii() and not (settings.keys / SECRET).exists():
        create_smime_signing_key(settings.keys, settings.mail_from, datetime.now(UTC))


def _make_folders(settings: Settings) -> None:
    try:
        for folder in (settings.home, settings.home / "mlflow", settings.topology.parent):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}; set CLARION_HOME to another folder") from None


async def _champion(settings: Settings) -> str:
    """The folder of a model that loads."""
    wanted = settings.model if settings.artefact is None else str(settings.artefact.absolute())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "training.registry", "--tracking", settings.tracking_uri),
        *("champion", "--or-starter", "--load", "--uri", wanted),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise ConfigurationError(_last_line(errors) or "the model registry does not answer; see var/mlflow")
    return _last_line(output)


def _last_line(octets: bytes) -> str:
    lines = octets.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
