"""Starts the programs that make up a running Clarion, brings back whichever dies, and leaves nothing behind."""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from serving import scratch
from serving.errors import ConfigurationError
from serving.leash import SUPERVISOR, adopt_orphans, leash
from serving.processes import PROGRAM, end_now, left_behind, workers
from serving.programs import Program

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 10.0
SETTLED = 20.0
POLL = 0.1
SET_UP_WRONGLY, TRIES, INSISTING = 2, 3, 5.0
"""The status of a program of ours that cannot start as it is set up; how often in a row, and for how many seconds, it
must say so: what is in its way may be its own predecessor, about to end. What is only not there yet has another."""
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
        self._refusals: dict[str, list[float]] = {}
        self._lock: IO[str] | None = None
        self._note = self._home / "run" / "scratch"
        self._scratch = Path(tempfile.gettempdir())

    async def __aenter__(self) -> Self:
        self._lock = _lock(self._home)
        try:
            _check_ports(self._programs)
            self._scratch = scratch.create(self._note)
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
            ConfigurationError: one ended and says that it is set up wrongly, or after so many `seconds` one still does
                not work; its log is named.
        """
        deadline = time.monotonic() + seconds
        for program in self._programs:
            while not await self._is_ready(program):
                if self._insists(program.name):
                    raise ConfigurationError(f"{program.name}: {_last_line(self._log_file(program))}")
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
            found.update(workers(name, process.pid))
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
            scratch.remove(self._note)
            self._lock.close()
            self._lock = None

    async def _keep(self, program: Program) -> None:
        backoff = FIRST_BACKOFF
        while True:
            started = time.monotonic()
            code = await self._running[program.name].wait()
            await self._bury(program)
            if code == SET_UP_WRONGLY:
                self._refusals.setdefault(program.name, []).append(time.monotonic())
            else:
                self._refusals.pop(program.name, None)
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
                env=_environment(program, self._scratch),
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
        """Kill and reap what a dead program left behind: this process adopted it."""
        alive = {process.pid for name, process in self._running.items() if name != program.name}
        while left := left_behind(program.name, alive):
            for process in left:
                end_now(process)
            await asyncio.sleep(0.01)

    def _insists(self, name: str) -> bool:
        refused = self._refusals.get(name, [])
        return len(refused) >= TRIES and refused[-1] - refused[0] >= INSISTING

    async def _is_ready(self, program: Program) -> bool:
        process = self._running.get(program.name)
        if process is None or process.returncode is not None:
            return False
        return program.probe is None or await program.probe()

    def _log_file(self, program: Program) -> Path:
        return self._home / "log" / f"{program.name}.log"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"it does not start; see {log}"


def ensure_idle(home: Path) -> None:
    """Ask before the files of a home are touched. Raises ConfigurationError where a supervisor runs in it."""
    if home.exists():
        _lock(home).close()


def _lock(home: Path) -> IO[str]:
    (home / "run").mkdir(parents=True, exist_ok=True)
    file = (home / "supervisor.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigurationError(f"Clarion already runs in {home}; stop it or set CLARION_HOME") from None
    return file


def _check_ports(programs: Sequence[Program]) -> None:
    wanted: dict[int, str] = {}
    for program in programs:
        for port, setting in program.ports.items():
            if port in wanted:
                raise ConfigurationError(f"{wanted[port]} and {program.name} both want port {port}; set {setting}")
            if not _is_free(port):
                raise ConfigurationError(
                    f"port {port}, wanted by {program.name}, is in use; end what listens there or set {setting}"
                )
            wanted[port] = program.name


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _environment(program: Program, scratch_folder: Path) -> dict[str, str]:
    # Without cached bytecode each of a dozen processes compiles over a thousand modules: 60 % of the start.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ours = {PROGRAM: program.name, SUPERVISOR: str(os.getpid()), "TMPDIR": str(scratch_folder)}
    return {**inherited, **program.environment, **ours}
