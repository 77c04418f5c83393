"""A running Clarion for a benchmark: a process that supervises the same programs as `clarion serve`, but MLflow.

python -m experiments.benchmarks.delivery.house [--alone]; its settings are in the environment. It says `ready`.
"""

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import programs
from serving.demo.running import free_ports
from serving.errors import ConfigurationError
from serving.leash import die_with_parent
from serving.settings import Settings
from serving.startup import make_keys
from serving.stopping import cancel_on_signals
from serving.supervisor import Supervisor
from serving.topology import topology

SENDER = "bench"
READY = b"ready\n"
READY_WITHIN = 240.0
STOPPED_WITHIN = 60.0


def settings_for(home: Path, *, smtp_port: int) -> Settings:
    """Settings of one in a folder of its own, on free ports; it delivers to `smtp_port` of this machine, and what
    comes from this machine without AUTH is `SENDER`'s. Its quota is off, and it opens 20 connections to
    one destination: both as Postfix has it."""
    provider, http, intake = free_ports(3)
    return Settings.read(
        home=home,
        http_port=http,
        intake_port=intake,
        intake_networks={"127.0.0.0/8": SENDER},
        rate=0.0,
        delivery_connections=20,
        smtp_host="127.0.0.1",
        smtp_port=smtp_port,
        provider_url=f"http://127.0.0.1:{provider}",
        database="",
        provider="sandbox",
    )


@contextmanager
def running(settings: Settings, artefact: Path, *, alone: bool = False) -> Iterator[int]:
    """It takes mail until the block is left; with `alone` there is nobody to do anything with what was accepted.

    Raises:
        ConfigurationError: it does not start; the last line of what it printed says why.
    """
    if not settings.keys.exists():
        settings.topology.parent.mkdir(parents=True, exist_ok=True)
        make_keys(settings)
        topology().write(settings.topology)
    command = [sys.executable, "-m", "experiments.benchmarks.delivery.house", *(["--alone"] if alone else [])]
    environment = {**os.environ, **settings.environment(), "CLARION_ARTEFACT": str(artefact.resolve())}
    with (settings.home / "house.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
    try:
        if process.stdout is None or process.stdout.readline() != READY:
            raise ConfigurationError(f"Clarion does not start; see {settings.home}")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOPPED_WITHIN)


async def _run(settings: Settings, *, alone: bool) -> None:
    cancel_on_signals()
    if settings.artefact is None:
        raise ConfigurationError("no model; set CLARION_ARTEFACT")
    stages = [] if alone else [programs.sandbox(settings), programs.gateway(settings, settings.artefact)]
    chosen = [programs.broker(settings), *stages, *programs.intakes(settings)]
    async with Supervisor(chosen, settings.home) as supervisor:
        await supervisor.ready(READY_WITHIN)
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> int:
    """The program."""
    die_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.delivery.house")
    parser.add_argument("--alone", action="store_true", help="broker and intake, and no stage")
    try:
        asyncio.run(_run(Settings.read(), alone=parser.parse_args().alone))
    except asyncio.CancelledError:
        return 0
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
