"""Other processes, as the supervisor sees them: what a program started, and what it left behind."""

import contextlib
import os
from collections.abc import Collection

import psutil

PROGRAM = "CLARION_PROGRAM"
"""Environment variable: the program's name, inherited by all its processes."""


def workers(name: str, pid: int) -> dict[str, int]:
    """The processes below `pid` by label: `name/Service` for BentoML's (then `name/Service.2`), else `name/<pid>`."""
    found: dict[str, int] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            base = label = f"{name}/{_service_name(child)}"
            number = 1
            while label in found:
                number += 1
                label = f"{base}.{number}"
            found[label] = child.pid
    return found


def left_behind(name: str, alive: Collection[int]) -> list[psutil.Process]:
    """This process's children that the dead program `name` started; `alive` are those of other programs."""
    return [child for child in psutil.Process().children() if child.pid not in alive and _is_left(child, name)]


def end_now(process: psutil.Process) -> None:
    """Kill it, and reap it if it is dead already."""
    with contextlib.suppress(psutil.Error):
        process.kill()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def _service_name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error, ValueError, IndexError):
        arguments = process.cmdline()
        return arguments[arguments.index("--service-name") + 1]
    return str(process.pid)


def _is_left(child: psutil.Process, name: str) -> bool:
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        with contextlib.suppress(psutil.AccessDenied):
            if child.status() != psutil.STATUS_ZOMBIE:
                return child.environ().get(PROGRAM) == name
        # A zombie, and what is not dumpable, tells nothing but its session; BentoML's workers lead their own, our
        # caller's children do not.
        return os.getsid(child.pid) == child.pid
    return False
