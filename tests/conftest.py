"""Fixtures that tests of every folder share: a real broker over a real store."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from serving.queue.client import Client
from serving.topology import topology
from tests.intakes import Intake, MakeIntake, intakes

RECURSION_LIMIT = sys.getrecursionlimit()

REAL_MAIL = Path(__file__).parent.parent.parent / "shared" / "data"


class BrokerProcess:
    """The broker in a process of its own, on a store that outlives it."""

    def __init__(self, home: Path, where: str = "", name: str = "broker") -> None:
        self.socket, self.store = home / f"{name}.sock", home / "clarion.sqlite3"
        self._where = where or str(self.store)
        self._topology = home / "topology.json"
        self._log = home / f"{name}.log"
        topology().write(self._topology)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns at once."""
        arguments = ["--socket", self.socket, "--store", self._where, "--topology", self._topology]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serving.queue.broker", *map(str, arguments)], stderr=log, stdout=log
            )

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)
            self.process.wait(20)


@pytest.fixture
def broker() -> Iterator[BrokerProcess]:
    """A running broker. Its folder's path is short: a Unix socket's has at most 107 octets."""
    with TemporaryDirectory(prefix="clarion-") as folder:
        process = BrokerProcess(Path(folder))
        process.start()
        yield process
        process.stop()


@pytest.fixture
async def client(broker: BrokerProcess) -> AsyncIterator[Client]:
    """A client of that broker."""
    connected = await Client.connect(broker.socket)
    yield connected
    await connected.close()


@pytest.fixture
async def make_intake(client: Client, tmp_path: Path) -> AsyncIterator[MakeIntake]:
    """Makes SMTP intakes in process, before that broker."""
    async with intakes(client, tmp_path) as make:
        yield make


@pytest.fixture
async def intake(make_intake: MakeIntake) -> Intake:
    """One as it is set up by default."""
    made: Intake = await make_intake()
    return made


@pytest.fixture
def real_mail() -> Path:
    """The folder of real mail beside the checkout; tests that need it say so and are skipped where it is absent."""
    if not REAL_MAIL.is_dir():
        pytest.skip("no real mail beside this checkout (../shared/data)")
    return REAL_MAIL


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Wait until an async predicate holds."""

    async def wait(predicate: Callable[[], object], within: float = 15.0) -> None:
        deadline = asyncio.get_running_loop().time() + within
        while True:
            with contextlib.suppress(ConnectionError):
                answer = predicate()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return
            assert asyncio.get_running_loop().time() < deadline, "it never came true"
            await asyncio.sleep(0.05)

    return wait


def pytest_runtest_setup() -> None:
    """Libraries that only tests import raise it (py_ecc, beneath x402); no process of ours has that limit, and JSON
    that is nested deeply enough would then end the tests instead of being refused."""
    sys.setrecursionlimit(RECURSION_LIMIT)
