"""The run's processes: each in a process group of its own, brought back when it is gone, ended whatever happens."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from serving.leash import leash
from tests.torture.payments.worker import WORKERS
from tests.torture.payments.world import HOST, World

ROOT = Path(__file__).parents[3]
FAULTS = ("timeout=0.1", "html=0.05", "error=0.05")
GRACE = 10.0
SURVIVOR = "courier"
"""The one that is never killed: it belongs to the torturer."""


class Process:
    """One program, with what it prints in a file; `command` is what it is started with from the next time on."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it ended without being asked to."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start it; returns at once."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=partial(leash, os.getpid()),
            )

    def kill(self) -> None:
        """kill -9, it and whatever it started."""
        self._signal(signal.SIGKILL)

    def end(self) -> None:
        """End it in order, or kill it."""
        try:
            self._signal(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait(GRACE)


class Fleet:
    """All of them by name. `killed` counts who was killed, `crashed` who ended by itself."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._processes = {
            name: Process(command, world.path(f"{name}.log")) for name, command in _commands(world).items()
        }
        self.killed: Counter[str] = Counter()
        self.crashed: Counter[str] = Counter()

    @property
    def victims(self) -> list[str]:
        """Who may be killed."""
        return [name for name in self._processes if name != SURVIVOR]

    def start(self) -> None:
        """Start them all."""
        for process in self._processes.values():
            process.start()

    def end(self) -> None:
        """End them all, those who use the others first; nothing is left."""
        for process in reversed(self._processes.values()):
            process.end()

    def kill(self, name: str) -> None:
        """kill -9, and another one in its place at once."""
        self.killed[name] += 1
        self._processes[name].kill()
        self._processes[name].start()

    def revive(self) -> None:
        """Start again who ended by itself."""
        for name, process in self._processes.items():
            if process.is_gone:
                self.crashed[name] += 1
                process.start()

    def calm(self) -> None:
        """The provider makes no faults any more."""
        provider = self._processes["provider"]
        provider.command = _provider(self._world)
        provider.kill()
        provider.start()


@contextmanager
def running(world: World) -> Iterator[Fleet]:
    """The fleet, ended at the end of the block."""
    fleet = Fleet(world)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.end()


def _commands(world: World) -> dict[str, tuple[str, ...]]:
    here = "tests.torture.payments"
    file = str(world.file)
    return {
        "broker": _broker(world),
        "provider": _provider(world, *FAULTS),
        **{name: (f"{here}.{name}", file) for name in ("receiver", "courier", "till")},
        **{name: (f"{here}.worker", name, file) for name in WORKERS},
    }


def _broker(world: World) -> tuple[str, ...]:
    places = ("--socket", world.socket, "--store", world.path("clarion.sqlite3"), "--topology", world.topology)
    return ("serving.queue.broker", *map(str, places))


def _provider(world: World, *faults: str) -> tuple[str, ...]:
    return (
        "serving.payment.sandbox",
        *("--port", str(world.provider), "--log", str(world.journal), "--seed", str(world.seed), "--hang", "5"),
        *("--webhook", f"http://{HOST}:{world.courier}/", "--webhook-secret", str(world.secret)),
        *(option for fault in faults for option in ("--fault", fault)),
    )
