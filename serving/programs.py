"""The programs of a running Clarion: how each is started and how it tells that it works."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from serving.settings import Settings

Probe = Callable[[], Awaitable[bool]]

PROBE_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `ports` must be free before the first start, and say which setting chooses each; `grace` is seconds
    between SIGTERM and SIGKILL; `probe` tells whether it does its work (None: it does once it runs)."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, str] = field(default_factory=dict)
    grace: float = 10.0
    probe: Probe | None = None


def broker(settings: Settings) -> Program:
    """The queue: the one process that opens the store."""
    return Program(
        name="broker",
        command=(
            *_python("serving.queue.broker"), "--socket", str(settings.socket.absolute()),
            *([] if settings.database else ["--store", settings.store]),
            "--topology", str(settings.topology.absolute()), "--retention", str(settings.retention_days),
            "--currency", settings.currency, "--provider", settings.provider,
        ),
        # A URL may hold a password, and everybody on the machine can read a program's arguments.
        environment={"CLARION_DATABASE": settings.database} if settings.database else {},
        probe=listens_at(settings.socket.absolute()),
    )  # fmt: skip


def sandbox(settings: Settings) -> Program:
    """The embedded payment provider, with its own log."""
    port = urlsplit(settings.provider_url).port or 80
    return Program(
        name="provider",
        command=(
            *_python("serving.payment.sandbox"), "--port", str(port),
            "--log", str(settings.provider_log.absolute()), "--currency", settings.currency,
        ),
        ports={port: "CLARION_PROVIDER_URL"},
        probe=answers(f"{settings.provider_url}/healthz"),
    )  # fmt: skip


def receiver(settings: Settings) -> Program:
    """The SMTP server of those who have none: it keeps what it accepts in a Maildir."""
    return Program(
        name="receiver",
        command=(
            *_python("serving.receiver"), "--port", str(settings.smtp_port),
            "--maildir", str(settings.maildir.absolute()),
        ),
        ports={settings.smtp_port: "CLARION_SMTP_PORT"},
        probe=listens(settings.smtp_port),
    )  # fmt: skip


def mlflow(settings: Settings) -> Program:
    """MLflow's pages over the registry, for people."""
    folder = settings.home.resolve() / "mlflow"
    return Program(
        name="mlflow",
        command=(
            *_python("mlflow"), "server", "--backend-store-uri", settings.tracking_uri, "--host", "127.0.0.1",
            "--port", str(settings.mlflow_port), "--workers", "1", "--default-artifact-root", str(folder / "artifacts"),
        ),
        ports={settings.mlflow_port: "CLARION_MLFLOW_PORT"},
        probe=answers(f"http://127.0.0.1:{settings.mlflow_port}/health"),
        grace=10.0,
    )  # fmt: skip


def gateway(settings: Settings, artefact: Path) -> Program:
    """BentoML with the gateway and every stage; `artefact` is the champion's folder."""
    return Program(
        name="gateway",
        command=(
            *_python("bentoml"), "serve", "serving.service:Gateway",
            "--host", "127.0.0.1", "--port", str(settings.http_port),
        ),
        environment={
            **_environment(settings),
            "CLARION_ARTEFACT": str(artefact.resolve()),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(settings.home.resolve() / "bentoml"),
            "OMP_WAIT_POLICY": "PASSIVE",
        },
        ports={settings.http_port: "CLARION_HTTP_PORT"},
        probe=answers(f"http://127.0.0.1:{settings.http_port}/readyz"),
        grace=15.0,
    )  # fmt: skip


def intakes(settings: Settings) -> list[Program]:
    """Where mail comes in by SMTP: processes that share the port."""
    return [_intake(settings, number) for number in range(1, settings.intake_workers + 1)]


def _intake(settings: Settings, number: int) -> Program:
    return Program(
        name="intake" if number == 1 else f"intake.{number}",
        command=_python("serving.intake"),
        environment=_environment(settings),
        ports={settings.intake_port: "CLARION_INTAKE_PORT"} if number == 1 else {},
        probe=listens(settings.intake_port, settings.intake_host),
    )


def webhooks(settings: Settings) -> Program:
    """Who tells senders' webhooks what became of their mail."""
    return Program(
        name="webhooks",
        command=_python("serving.webhooks"),
        environment=_environment(settings),
        grace=20.0,
    )


def answers(url: str) -> Probe:
    """A probe: the URL answers 200."""

    async def probe() -> bool:
        async with httpx.AsyncClient(timeout=PROBE_TIMEOUT, trust_env=False) as client:
            try:
                response = await client.get(url)
            except httpx.HTTPError:
                return False
        return response.status_code == 200

    return probe


def listens(port: int, host: str = "127.0.0.1") -> Probe:
    """A probe: a TCP connection to the port is taken; a host that stands for all addresses is asked on this machine."""
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104

    async def probe() -> bool:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(asked, port), PROBE_TIMEOUT)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    return probe


def listens_at(path: Path) -> Probe:
    """A probe: a connection to the Unix socket is taken."""

    async def probe() -> bool:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_unix_connection(path), PROBE_TIMEOUT)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    return probe


def _environment(settings: Settings) -> dict[str, str]:
    """The same settings, wherever the program runs."""
    folders = {"CLARION_HOME": settings.home.resolve(), "CLARION_KEY_FOLDER": settings.keys.resolve()}
    return {**settings.environment(), **{name: str(folder) for name, folder in folders.items()}}


def _python(module: str) -> tuple[str, ...]:
    return sys.executable, "-m", module
