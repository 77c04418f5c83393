"""Our broker for a benchmark: a process of its own, five stages that do nothing, and processes that work for them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from serving.errors import BrokerUnavailable
from serving.queue.blocking import BlockingClient
from serving.queue.topology import Edge, Place, Topology

STAGES = ("one", "two", "three", "four", "five")
WORKER = """
import asyncio, sys
from pathlib import Path
from serving.queue.client import Client
async def work(client, stage):
    running = set()
    async for lease in client.consume(stage, credit=256):
        running.add(task := asyncio.create_task(lease.complete("done")))
        task.add_done_callback(running.discard)
async def main():
    client = await Client.connect(Path(sys.argv[1]))
    await asyncio.gather(*(work(client, stage) for stage in sys.argv[2:]))
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that answers."""

    socket: Path
    process: "subprocess.Popen[bytes]"

    def worker(self, *stages: str, script: str = WORKER) -> "subprocess.Popen[bytes]":
        """A process that works for these stages; whoever starts it ends it."""
        return subprocess.Popen([sys.executable, "-c", script, str(self.socket), *stages])


@contextmanager
def broker(folder: Path, store: str = "", accounts: tuple[str, ...] = ()) -> Iterator[Running]:
    """It runs until the block is left. `store` is a file in the folder, or a PostgreSQL URL; stages may post to
    `accounts`."""
    socket, topology = folder / "b.sock", folder / "topology.json"
    _topology(accounts).write(topology)
    command = [sys.executable, "-m", "serving.queue.broker", "--socket", str(socket), "--topology", str(topology)]
    with (folder / "broker.log").open("ab") as log:
        process = subprocess.Popen([*command, "--store", store or str(folder / "store")], stderr=log)
    try:
        _wait(socket)
        yield Running(socket, process)
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a program in order, and wait for it."""
    process.terminate()
    process.wait(30)


def _topology(accounts: tuple[str, ...]) -> Topology:
    following = dict(pairwise(STAGES))
    places = {
        stage: Place(
            "message",
            {"done": Edge("stage", following[stage]) if stage in following else Edge("end", "delivered")},
            accounts=accounts,
        )
        for stage in STAGES
    }
    return Topology(places, *(STAGES[0] for _ in range(5)))


def _wait(socket: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            BlockingClient(socket).close()
        except BrokerUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
