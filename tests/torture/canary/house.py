"""A running Clarion in a folder of its own: `clarion serve`, as anybody starts it, and what of it can be killed."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import httpx
import psutil

from serving.demo.running import free_ports
from serving.errors import ConfigurationError
from serving.leash import die_with_parent
from serving.pipeline import Stage
from serving.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
READY_WITHIN = 240.0
STOPPED_WITHIN = 90.0
POLL = 0.2
ANNOUNCED = b"Ctrl-C stops all of it."
ANOTHER_GROUP = 65_534
"""As root, everything runs under this group: in /proc what is not dumpable belongs to root's own group all the same."""
KEEPERS = (*(stage.value.capitalize() for stage in Stage), "Gateway", "serving.receiver", "serving.intake")
"""Processes with keys or plaintext in memory."""


class House:
    """Everything that it writes lies below `folder`, but for temporary files, which lie below `scratch`: the paths of
    BentoML's sockets there must be short."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = Path(mkdtemp(prefix="canary-"))
        smtp, provider, http, mlflow, intake = free_ports(5)
        self.settings = Settings.read(
            home=folder / "home",
            http_port=http,
            mlflow_port=mlflow,
            intake_host="127.0.0.1",
            intake_port=intake,
            smtp_host="127.0.0.1",
            smtp_port=smtp,
            provider_url=f"http://127.0.0.1:{provider}",
            first_retry=0.5,
            longest_retry=5.0,
            database="",
            provider="sandbox",
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._printed = 0

    @property
    def url(self) -> str:
        """Of the public API."""
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def output(self) -> Path:
        """What `clarion serve` prints."""
        return self.folder / "output"

    def start(self) -> None:
        """Start it; returns at once."""
        person = self.folder / "person"
        person.mkdir(parents=True, exist_ok=True)
        places = {"HOME": str(person), "TMPDIR": str(self.scratch), "COLUMNS": "200"}
        with self.output.open("ab") as output:
            self._printed = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.cli", "serve"],
                cwd=ROOT,
                env={**os.environ, **self.settings.environment(), **places},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                group=ANOTHER_GROUP if os.geteuid() == 0 else None,
                preexec_fn=_in_the_house,
            )

    def wait_until_ready(self) -> None:
        """Return when mail is taken and every stage works.

        Raises:
            ConfigurationError: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + READY_WITHIN
        while not (self._has_announced() and self._answers("/readyz") and self.takes_mail()):
            if self._process is None or self._process.poll() is not None:
                raise ConfigurationError(f"clarion serve ended: {self._last_line()}")
            if time.monotonic() > deadline:
                raise ConfigurationError(f"clarion serve is not ready after {READY_WITHIN:.0f} s; {self._last_line()}")
            time.sleep(POLL)

    def takes_mail(self) -> bool:
        """Whether gateway and broker work just now."""
        return self._answers("/v1/health")

    def processes(self) -> dict[int, str]:
        """Everything that runs below `clarion serve`: process id and module, or BentoML's service."""
        found: dict[int, str] = {}
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        found[child.pid] = _name(child.cmdline())
        return found

    def dumpable(self) -> list[str]:
        """Whose memory a crash would write down: all that may leave a core file, and those with keys or plaintext that
        hide nothing in /proc."""
        found = set()
        for pid, name in self.processes().items():
            with suppress(FileNotFoundError, ProcessLookupError):
                if _may_leave_core(pid) or (name in KEEPERS and not _is_hidden(pid)):
                    found.add(name)
        return sorted(found)

    def crash(self) -> None:
        """kill -9 of everything, the supervisor first, so that nothing is tidied up."""
        victims = [] if self._process is None else [self._process.pid, *self.processes()]
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        _wait_until_gone(victims)

    def stop(self) -> None:
        """Ctrl-C, and wait; whatever is left afterwards is killed."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            self.crash()

    def _answers(self, path: str) -> bool:
        try:
            return httpx.get(f"{self.url}{path}", timeout=5.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _has_announced(self) -> bool:
        """Whether all programs were ready once: `clarion serve` gives up where one is killed before that."""
        return ANNOUNCED in self.output.read_bytes()[self._printed :]

    def _last_line(self) -> str:
        lines = self.output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _in_the_house() -> None:
    """For the child before it becomes `clarion serve`: core files as large as this machine lets them be."""
    die_with_parent()
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def _name(arguments: list[str]) -> str:
    """The service that BentoML calls it by, else the module that Python runs."""
    for flag in ("--service-name", "-m"):
        if flag in arguments[:-1]:
            return arguments[arguments.index(flag) + 1]
    return arguments[0] if arguments else "?"


def _may_leave_core(pid: int) -> bool:
    """The hard and the soft limit, as proc(5) shows them to everybody."""
    limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
    return any(line.startswith("Max core file size") and line.split()[4:6] != ["0", "0"] for line in limits)


def _is_hidden(pid: int) -> bool:
    """Whether it is not dumpable: its files in /proc belong to root then, whoever it runs as."""
    owner = Path(f"/proc/{pid}/environ").stat()
    return (owner.st_uid, owner.st_gid) == (0, 0)


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + STOPPED_WITHIN
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        if time.monotonic() > deadline:
            raise ConfigurationError("a killed process does not go; look for it with ps")
        time.sleep(POLL)
