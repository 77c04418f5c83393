"""A crash writes down no memory: it holds keys and plaintext."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from serving.programs import Program
from serving.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
NOBODY = 65_534
TELL = """
import ctypes, resource
PR_GET_DUMPABLE = 3
def tell():
    print(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE), flush=True)
"""


def said(code: str) -> str:
    """What a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


STAGE = """
import asyncio
from serving.service import Triage
from serving.worker import StageWorker

async def main():
    StageWorker.start = lambda _: None
    await Triage.inner().start()
    tell()

asyncio.run(main())
"""
GATEWAY = """
import asyncio
from serving import service
from serving.gateway import opening

class Loaded(Exception):
    pass

def load(*_):
    tell()
    raise Loaded

async def main():
    opening.load_sealing = load
    try:
        await service.Gateway.inner().start()
    except Loaded:
        pass

asyncio.run(main())
"""
RECEIVER = """
from serving import receiver

async def serve(_):
    tell()

receiver._main = serve
receiver.main(["--maildir", "/nowhere"])
"""
COMMAND = """
from serving import cli
cli.app = tell
cli.main()
"""


@pytest.mark.parametrize(
    "program", [STAGE, GATEWAY, RECEIVER, COMMAND], ids=["stage", "gateway", "receiver", "command"]
)
def test_what_holds_keys_or_plaintext_hands_its_memory_to_nobody(program: str) -> None:
    """The limit alone does not stop a helper that dumps are piped into, and an exec makes a process dumpable again."""
    assert said(TELL + program) == "0 0 0"


async def test_no_program_that_is_started_may_write_a_core_file(tmp_path: Path) -> None:
    """A crash inside a library must not leave a gigabyte of mail and keys in the working folder."""
    sleeper = Program("one", (sys.executable, "-c", "import time; time.sleep(60)"))
    async with Supervisor([sleeper], tmp_path) as supervisor:
        limit = psutil.Process(supervisor.processes()["one"]).rlimit(psutil.RLIMIT_CORE)

    assert limit == (0, 0)


ORPHANS = f"""
import os, time
from serving import core_dumps
from serving.processes import left_behind

ready, tell = os.pipe()
if os.geteuid() == 0:
    os.setgid({NOBODY})
    os.setuid({NOBODY})
child = os.fork()
if child == 0:
    os.setsid()
    core_dumps.forbid()
    os.write(tell, b"!")
    time.sleep(60)
os.read(ready, 1)
try:
    readable = os.access(f"/proc/{{child}}/environ", os.R_OK)
    print(readable, [each.pid for each in left_behind("gateway", ())] == [child], left_behind("gateway", [child]))
finally:
    os.kill(child, {signal.SIGKILL})
"""


def test_an_orphan_that_hides_its_environment_is_still_found() -> None:
    """Without root the supervisor cannot read which program a worker belongs to; left alive it would hold the port."""
    assert "CLARION_PROGRAM" not in os.environ
    assert said(ORPHANS) == "False True []"
