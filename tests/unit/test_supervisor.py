"""The supervisor brings back what dies and leaves nothing behind."""

import asyncio
import os
import signal
import socket
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from serving.errors import ConfigurationError
from serving.programs import Program, listens
from serving.supervisor import Supervisor, ensure_idle

SLEEPER = "import time\nprint('up', flush=True)\nwhile True: time.sleep(60)"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
while True: time.sleep(60)
"""


def program(name: str, code: str = SLEEPER, **options: object) -> Program:
    return Program(name, (sys.executable, "-c", code), **options)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def child_in(log: Path) -> int:
    return int(log.read_text().split("child")[-1])


async def test_what_cannot_start_as_it_is_set_up_says_so_at_once(tmp_path: Path) -> None:
    """Three minutes of waiting for a log file that holds the answer help nobody."""

    async def never() -> bool:
        return False

    says = "import sys; print('no money', 'set MONEY', sep='\\n', file=sys.stderr); sys.exit(2)"
    refusing = program("one", says, probe=never)
    began = time.monotonic()
    async with Supervisor([refusing], tmp_path) as supervisor:
        with pytest.raises(ConfigurationError, match="one: set MONEY"):
            await supervisor.ready(60.0)

    assert time.monotonic() - began < 30


async def test_what_is_in_the_way_of_a_start_may_go(tmp_path: Path) -> None:
    """The broker before it, which has the store open for another second."""
    once = f"""
import pathlib, sys, time
tried = pathlib.Path({str(tmp_path / "tried")!r})
if not tried.exists():
    tried.touch()
    sys.exit(2)
time.sleep(60)
"""
    async with Supervisor([program("one", once)], tmp_path) as supervisor:
        await until(lambda: supervisor.restarts == {"one": 1})
        await supervisor.ready(30.0)


async def test_a_killed_program_comes_back(tmp_path: Path) -> None:
    """Whatever is killed and whenever, the service goes on."""
    async with Supervisor([program("one"), program("two")], tmp_path) as supervisor:
        before = supervisor.processes()
        os.kill(before["one"], signal.SIGKILL)
        await until(lambda: supervisor.processes()["one"] != before["one"])
        after = supervisor.processes()

    assert after["two"] == before["two"]
    assert supervisor.restarts == {"one": 1}


async def test_a_program_that_keeps_dying_is_started_ever_more_slowly(tmp_path: Path) -> None:
    """A program that cannot start must not eat the machine."""
    async with Supervisor([program("broken", "raise SystemExit(1)")], tmp_path) as supervisor:
        await asyncio.sleep(1.5)

    assert 1 <= supervisor.restarts["broken"] <= 4


async def test_the_end_leaves_no_process_behind(tmp_path: Path) -> None:
    """Ctrl-C stops all of it, also what ignores the polite signal and what a program started itself."""
    programs = [program("stubborn", STUBBORN, grace=0.3), program("parent", PARENT)]
    async with Supervisor(programs, tmp_path) as supervisor:
        await until(lambda: "child" in (tmp_path / "log" / "parent.log").read_text())
        started = {*supervisor.processes().values(), child_in(tmp_path / "log" / "parent.log")}

    assert len(started) == 3
    assert all(map(is_gone, started))


async def test_orphans_of_a_killed_program_are_ended_before_it_starts_again(tmp_path: Path) -> None:
    """An orphaned worker would hold the port and work on beside its successor."""
    log = tmp_path / "log" / "parent.log"
    async with Supervisor([program("parent", PARENT)], tmp_path) as supervisor:
        await until(lambda: log.exists() and "child" in log.read_text())
        parent, orphan = supervisor.processes()["parent"], child_in(log)
        os.kill(parent, signal.SIGKILL)
        await until(lambda: supervisor.processes().get("parent") not in (None, parent))

        assert is_gone(orphan)


async def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """After kill -9 of the supervisor the ports must be free for the next start."""
    code = f"""
        import asyncio, sys
        from pathlib import Path
        from serving.programs import Program
        from serving.supervisor import Supervisor, ensure_idle

        async def main():
            programs = [Program("one", (sys.executable, "-c", {SLEEPER!r}))]
            async with Supervisor(programs, Path({str(tmp_path)!r})) as supervisor:
                print(supervisor.processes()["one"], flush=True)
                await asyncio.sleep(60)

        asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(code)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()

    await until(lambda: is_gone(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


async def test_a_second_supervisor_in_one_home_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Two brokers on one store file would be the end of both."""
    async with Supervisor([program("one")], tmp_path):
        with pytest.raises(ConfigurationError, match="set CLARION_HOME"):
            async with Supervisor([program("one")], tmp_path):
                pass
        with pytest.raises(ConfigurationError, match="set CLARION_HOME"):
            ensure_idle(tmp_path)
    ensure_idle(tmp_path)


async def test_temporary_files_of_the_programs_are_gone_afterwards(tmp_path: Path) -> None:
    """BentoML leaves folders behind when it is killed, and what a mail passed through may lie in them."""
    code = "import tempfile\nprint('in', tempfile.mkdtemp(), flush=True)\n" + SLEEPER
    log = tmp_path / "log" / "one.log"
    async with Supervisor([program("one", code, grace=0.1)], tmp_path):
        await until(lambda: log.exists() and "in " in log.read_text())
        folder = Path(log.read_text().split()[1])
        assert folder.name in {path.name for path in folder.parent.glob("*")}

    assert not folder.parent.exists()


async def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    """The first thing a newcomer meets is another program on port 3000."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}, wanted by one, is in use") as refusal:
            async with Supervisor([program("one", ports={port: "CLARION_HTTP_PORT"})], tmp_path):
                pass

    assert "\n" not in str(refusal.value)
    assert "CLARION_HTTP_PORT" in str(refusal.value)


async def test_two_programs_that_want_one_port_are_told_before_either_starts(tmp_path: Path) -> None:
    """Otherwise the second would die and be started again for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    both = [program("one", ports={port: "CLARION_HTTP_PORT"}), program("two", ports={port: "CLARION_MLFLOW_PORT"})]
    with pytest.raises(ConfigurationError) as refusal:
        async with Supervisor(both, tmp_path):
            pass

    assert str(refusal.value) == f"one and two both want port {port}; set CLARION_MLFLOW_PORT"


async def test_ready_waits_for_the_probe_and_names_the_log_when_it_never_comes(tmp_path: Path) -> None:
    """A start that hangs must say where to look."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = f"import socket, time\ns = socket.create_server(('127.0.0.1', {port}))\ntime.sleep(60)"
    async with Supervisor([program("server", server, probe=listens(port))], tmp_path) as supervisor:
        await supervisor.ready(10)
    async with Supervisor([program("idle", probe=listens(port))], tmp_path) as supervisor:
        with pytest.raises(ConfigurationError, match=r"idle is not ready after 0 s; see .*idle\.log"):
            await supervisor.ready(0.3)
