"""A queue beside ours, as its users would write it: five tasks in a row that do nothing, each hop durable.

Its `start` brings its server, its schema and one worker's process; what it returns publishes messages and counts those
that have come to the end.
"""

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from experiments.benchmarks.queue.ours import end

STAGES = 5
BATCH = 50  # pgmq reads, sends and deletes so many in one transaction
CONCURRENCY = 64  # of workers that work on many at once, and of whoever publishes


@dataclass(frozen=True, slots=True)
class Queue:
    """`publish(count)` puts so many 1 KiB messages before the first stage; `ended()` counts those behind the last."""

    publish: Callable[[int], None]
    ended: Callable[[], int]


Start = Callable[[ExitStack, Path], Queue]


def worker(stack: ExitStack, name: str, address: str) -> None:
    """A worker's process, ended with the stack."""
    begin = "import sys; from experiments.benchmarks.queue import peers; peers.WORKERS[sys.argv[1]](sys.argv[2])"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", begin, name, address], stdout=subprocess.DEVNULL
    )  # tasks are found by their module's name
    stack.callback(end, process)


def postgresql(stack: ExitStack) -> str:
    """The URL of an empty database on a server of its own, fsync on."""
    from tests.interop.postgres import Server

    server = Server()
    stack.callback(server.close)
    return server.database()
