"""Starts the programs that make up a running Clarion, brings back whichever dies, and leaves nothing behind."""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from serving.errors import ConfigurationError
from serving.leash import SUPERVISOR, adopt_orphans, leash
from serving.programs import Program

PROGRAM = "CLARION_PROGRAM"
"""Environment variable: the program's name, inherited by all its processes."""

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 10.0
SETTLED = 20.0
POLL = 0.1
ROOT = Path(__file__).resolve().parent.parent

_log = logging.getLogger(__name__)


class Supervisor:
    """`async with Supervisor(programs, home) as supervisor`: they run, each in a session of its own.

    They start in the order given and stop in the opposite one. Output goes to `home/log/<name>.log`.

    Raises ConfigurationError on entry: another supervisor runs in this home, or a port is taken.
    """

    def __init__(self, programs: Sequence[Program], home: Path) -> None:
        self._programs = tuple(programs)
        self._home = home.resolve()
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._restarts: dict[str, int] = {}
        self._lock: IO[str] | None = None

    async def __aenter__(self) -> Self:
        self._lock = _lock(self._home / "run" / "supervisor.lock")
        try:
            _check_ports(self._programs)
            adopt_orphans()
            for program in self._programs:
                await self._start(program)
                self._keepers[program.name] = asyncio.create_task(self._keep(program))
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def ready(self, seconds: float) -> None:
        """Returns once every program does its work.

        Raises:
            ConfigurationError: after so many `seconds` one still does not; its log is named.
        """
        deadline = time.monotonic() + seconds
        for program in self._programs:
            while not await self._is_ready(program):
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"{program.name} is not ready after {seconds:.0f} s; see {self._log_file(program)}"
                    )
                await asyncio.sleep(POLL)

    def processes(self) -> dict[str, int]:
        """Process ids by name. What a program started itself is there too: BentoML's workers as
        `gateway/Encryption` (a second worker of a service as `gateway/Encryption.2`)."""
        found = {}
        for name, process in self._running.items():
            found[name] = process.pid
            found.update(_workers(name, process.pid))
        return found

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often each program had to be started again."""
        return dict(self._restarts)

    async def stop(self) -> None:
        """End every program, the last started first; SIGKILL for what is left after its grace."""
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        self._keepers.clear()
        for program in reversed(self._programs):
            await self._end(program)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def _keep(self, program: Program) -> None:
        backoff = FIRST_BACKOFF
        while True:
            started = time.monotonic()
            code = await self._running[program.name].wait()
            await self._bury(program)
            backoff = FIRST_BACKOFF if time.monotonic() - started > SETTLED else min(2 * backoff, LONGEST_BACKOFF)
            _log.warning("%s ended (%s); starting it again in %.1f s", program.name, code, backoff)
            await asyncio.sleep(backoff)
            self._restarts[program.name] = self._restarts.get(program.name, 0) + 1
            await self._start(program)

    async def _start(self, program: Program) -> None:
        log = self._log_file(program)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._running[program.name] = await asyncio.create_subprocess_exec(
                *program.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=_environment(program),
                start_new_session=True,
                preexec_fn=partial(leash, os.getpid()),
            )

    async def _end(self, program: Program) -> None:
        process = self._running.pop(program.name, None)
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), program.grace)
        if process.returncode is None:
            _log.warning("%s did not end within %.0f s; killing it", program.name, program.grace)
            process.kill()
            await process.wait()
        await self._bury(program)

    async def _bury(self, program: Program) -> None:
        alive = {process.pid for name, process in self._running.items() if name != program.name}
        await _bury(program.name, alive)

    async def _is_ready(self, program: Program) -> bool:
        process = self._running.get(program.name)
        if process is None or process.returncode is not None:
            return False
        return program.probe is None or await program.probe()

    def _log_file(self, program: Program) -> Path:
        return self._home / "log" / f"{program.name}.log"


def _lock(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigurationError(f"Clarion already runs in {path.parent.parent}; stop it or set CLARION_HOME") from None
    return file


def _check_ports(programs: Sequence[Program]) -> None:
    for program in programs:
        for port in program.ports:
            if not _is_free(port):
                raise ConfigurationError(
                    f"port {port}, wanted by {program.name}, is in use; end what listens there or choose another port"
                )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _environment(program: Program) -> dict[str, str]:
    return {**os.environ, **program.environment, PROGRAM: program.name, SUPERVISOR: str(os.getpid())}


def _workers(name: str, pid: int) -> dict[str, int]:
    found: dict[str, int] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            label = base = f"{name}/{_service_name(child)}"
            number = 1
            while label in found:
                number += 1
                label = f"{base}.{number}"
            found[label] = child.pid
    return found


def _service_name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error, ValueError, IndexError):
        arguments = process.cmdline()
        return arguments[arguments.index("--service-name") + 1]
    return str(process.pid)


async def _bury(name: str, alive: Collection[int]) -> None:
    """Kill and reap what a dead program left behind: this process adopted it. `alive` are the other programs."""
    while left := [child for child in psutil.Process().children() if _is_left(child, name, alive)]:
        for child in left:
            _end_now(child)
        await asyncio.sleep(0.01)


def _is_left(child: psutil.Process, name: str, alive: Collection[int]) -> bool:
    if child.pid in alive:
        return False
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        if child.status() != psutil.STATUS_ZOMBIE:
            return child.environ().get(PROGRAM) == name
        # A zombie tells nothing but its session; BentoML's workers lead their own, our caller's children do not.
        return os.getsid(child.pid) == child.pid
    return False


def _end_now(child: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        child.kill()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)
