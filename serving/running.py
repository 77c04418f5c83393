"""A running Clarion, until somebody stops it: `clarion serve`."""

import asyncio
import logging
from contextlib import AbstractContextManager, nullcontext
from urllib.parse import urlsplit

from rich.console import Console

from serving import programs
from serving.programs import Program, listens
from serving.settings import Settings
from serving.startup import prepare
from serving.stopping import cancel_on_signals
from serving.supervisor import Supervisor, ensure_idle

READY_WITHIN = 180.0
LOCAL = ("127.0.0.1", "localhost", "::1")


async def run(settings: Settings) -> None:
    """Start everything, say where it is, and stop all of it on SIGINT or SIGTERM.

    Raises:
        ConfigurationError: it cannot start as it is set up; nothing is left running.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    console = Console()
    cancel_on_signals()
    try:
        await _run(settings, console)
    except asyncio.CancelledError:
        console.print(f"stopped; what was accepted is kept in {settings.home}", soft_wrap=True)


async def _run(settings: Settings, console: Console) -> None:
    ensure_idle(settings.home)
    with _step(console, "preparing keys and the champion"):
        artefact = await prepare(settings)
        chosen = [
            programs.broker(settings),
            *await _stand_ins(settings),
            programs.gateway(settings, artefact),
            programs.intake(settings),
            programs.mlflow(settings),
        ]
    async with Supervisor(chosen, settings.home) as supervisor:
        with _step(console, "starting the stages; the first time takes longest"):
            await supervisor.ready(READY_WITHIN)
        _announce(console, settings, chosen)
        await asyncio.Event().wait()


async def _stand_ins(settings: Settings) -> list[Program]:
    """What plays the outside world on this machine: a provider, and a mail server unless one is there already."""
    chosen = []
    if urlsplit(settings.provider_url).hostname in LOCAL:
        chosen.append(programs.sandbox(settings))
    is_relayed = settings.delivery == "smarthost" and settings.smtp_host in LOCAL
    if is_relayed and not await listens(settings.smtp_port)():
        chosen.append(programs.receiver(settings))
    return chosen


def _step(console: Console, text: str) -> AbstractContextManager[object]:
    """Says what is going on: until it is over on a terminal, in one line elsewhere."""
    if console.is_terminal:
        return console.status(text)
    console.print(text, soft_wrap=True)
    return nullcontext()


def _announce(console: Console, settings: Settings, chosen: list[Program]) -> None:
    url = f"http://127.0.0.1:{settings.http_port}"
    is_kept = any(program.name == "receiver" for program in chosen)
    to = "by MX" if settings.delivery == "mx" else f"{settings.smtp_host}:{settings.smtp_port}"
    mail = f"kept in {settings.maildir}" if is_kept else to
    body = '{"from": "ops@example.org", "to": "you@example.net", "subject": "Disk full", "text": "db1 is full"}'
    lines = (
        f"HTTP    {url} · POST /v1/notify · POST /v1/classify · GET /v1/health · GET /metrics",
        f"MLflow  http://127.0.0.1:{settings.mlflow_port}",
        f"mail    {mail}",
        f"logs    {settings.home / 'log'}",
        "",
        "In another terminal:",
        "  .venv/bin/clarion principal add ops --domain example.org     # prints an API key",
        "  .venv/bin/clarion recipient add you@example.net --open --no-pays",
        f"  curl {url}/v1/notify -H 'Authorization: Bearer <API key>' --json '{body}'",
        "",
        "Ctrl-C stops all of it.",
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
