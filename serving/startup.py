"""What must lie ready before the programs of a running Clarion start: keys, the broker's topology, a champion."""

import asyncio
import sys
from pathlib import Path

from serving.encryption.signing import create_signing_key
from serving.errors import ConfigurationError
from serving.sealing import create_keys, have_keys
from serving.settings import Settings
from serving.topology import topology

ROOT = Path(__file__).resolve().parent.parent


async def prepare(settings: Settings) -> Path:
    """Make what is missing; returns the folder of the model that `settings.model` names.

    An empty registry gets the starter champion that the repository ships. MLflow runs in a process of its own, so that
    no serving process carries it.

    Raises:
        ConfigurationError: the registry has no such model.
    """
    for folder in (settings.home, settings.home / "mlflow", settings.topology.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if not have_keys(settings.keys):
        make_keys(settings)
    topology().write(settings.topology)
    if settings.artefact is not None:
        return settings.artefact
    return Path(await _champion(settings))


def make_keys(settings: Settings) -> None:
    """New sealing keys and the gateway's signing key; ConfigurationError where there are keys already."""
    create_keys(settings.keys)
    create_signing_key(settings.keys, settings.mail_from)


async def _champion(settings: Settings) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "training.registry", "--tracking", settings.tracking_uri),
        *("champion", "--or-starter", "--uri", settings.model),
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
