"""Broker and workers are killed again and again while mail passes three stages: nothing is lost, nothing ends twice."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from serving.errors import BrokerUnavailable
from serving.queue.client import Client
from tests.conftest import BrokerProcess
from tests.integration.peers import submission

MESSAGES = 500
WORKER = """
import asyncio, sys
from pathlib import Path
from serving.pipeline import Authenticated, Discarded, NotUrgent, Stage
from serving.values import Prediction
from serving.queue.client import Client
from serving.stage import serve
async def authentication(work): return Authenticated("api_key")
async def classification(work): return NotUrgent(Prediction("not_urgent", 0.0, 0.01, True, "v"), None)
async def triage(work): return Discarded("torture", 0.0, 0.01, 0.01)
async def main():
    client = await Client.connect(Path(sys.argv[1]))
    stages = sys.argv[2:] or ["authentication", "classification", "triage"]
    await asyncio.gather(*(serve(Stage(stage), client, globals()[stage]) for stage in stages))
asyncio.run(main())
"""


class Workers:
    """Two processes, each of which works for all three stages."""

    def __init__(self, broker: BrokerProcess) -> None:
        self._command = [sys.executable, "-c", WORKER, str(broker.socket)]
        self._processes = [self._start() for _ in range(2)]

    def kill(self, number: int) -> None:
        """kill -9, and another one in its place."""
        self._processes[number].send_signal(signal.SIGKILL)
        self._processes[number].wait()
        self._processes[number] = self._start()

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command)


@contextmanager
def working(broker: BrokerProcess) -> Iterator[Workers]:
    workers = Workers(broker)
    try:
        yield workers
    finally:
        workers.end()


async def publish(client: Client, number: int) -> int:
    """As a sender does it: the same key until there is an answer."""
    while True:
        try:
            accepted = await client.accept(submission(f"key {number}", body=bytes(number * 17 % 9000)))
        except BrokerUnavailable:
            await asyncio.sleep(0.1)
        else:
            return accepted.notification_ids[0]


async def publish_all(client: Client) -> list[int]:
    """In small groups, so that it goes on while things die."""
    ids: list[int] = []
    for start in range(0, MESSAGES, 20):
        ids += await asyncio.gather(*(publish(client, number) for number in range(start, start + 20)))
        await asyncio.sleep(0.2)
    return ids


async def kill_at_random(broker: BrokerProcess, workers: Workers, dice: random.Random) -> Counter[str]:
    """Until cancelled, every second or so one of the three."""
    killed: Counter[str] = Counter()
    with suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(dice.uniform(0.7, 1.6))
            victim = dice.choice(["broker", "worker 0", "worker 1"])
            killed[victim.split()[0]] += 1
            if victim == "broker":
                broker.kill()
                broker.start()
            else:
                workers.kill(int(victim[-1]))
    return killed


async def all_discarded(client: Client) -> bool:
    with suppress(BrokerUnavailable):
        counts = {row["state"]: row["count"] for row in await client.query("depths")}
        return counts.get("discarded") == MESSAGES
    return False


@pytest.mark.slow
async def test_nothing_is_lost_and_nothing_ends_twice(
    broker: BrokerProcess, client: Client, eventually: Callable[..., Awaitable[None]]
) -> None:
    """The second promise, with kill -9 in every state that five hundred mails pass through."""
    started = time.monotonic()
    with working(broker) as workers:
        killing = asyncio.create_task(kill_at_random(broker, workers, random.Random(20261122)))  # noqa: S311
        ids = await publish_all(client)
        killing.cancel()
        killed = await killing
        await eventually(lambda: all_discarded(client), within=40)
    ends = [[event["next"] for event in await client.query("events", id=str(id_))] for id_ in ids]

    assert len(set(ids)) == MESSAGES
    assert all(end == ["authentication", "classification", "triage", "discarded"] for end in ends)
    assert killed["broker"] >= 1
    assert killed["worker"] >= 1
    assert time.monotonic() - started < 40
