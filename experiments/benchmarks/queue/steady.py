"""What holds after a long time: how soon urgent mail is through while normal mail waits, and what memory does."""

import asyncio
import statistics
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from experiments.benchmarks.queue import contender, ours
from serving.queue.client import Client, Recipient, Submission

EVERY = 0.02
CREDIT = 64
_SETTLED = 0.1  # of the messages: what is allocated until then is kept for good


def urgent(folder: Path, waiting: int, probes: int) -> dict[str, float]:
    """Milliseconds from an urgent message's publication to its lease at the first stage: median, p99 and the longest.

    Twice as many normal ones as `waiting` are there at first, and a worker takes them as fast as it can: the last probe
    is the one after which fewer than `waiting` are left, or the last of `probes`.
    """
    with ExitStack() as stack:
        running = stack.enter_context(ours.broker(folder))
        return asyncio.run(_urgent(running.socket, waiting, probes))


def memory(folder: Path, count: int) -> dict[str, float]:
    """MiB that the broker's resident set grows by after the first tenth of `count` messages through five stages.

    And how many messages a second that was.
    """
    with ExitStack() as stack:
        running = stack.enter_context(ours.broker(folder))
        worker = running.worker(*ours.STAGES)
        stack.callback(ours.end, worker)
        return asyncio.run(_memory(running.socket, running.process, count))


async def _urgent(socket: Path, waiting: int, probes: int) -> dict[str, float]:
    publisher, worker = await Client.connect(socket), await Client.connect(socket)
    await _publish(publisher, 2 * waiting, "filling")
    came = _Arrivals()
    working = asyncio.create_task(_work(worker, came))
    waited: list[float] = []
    while len(waited) < probes and came.normal <= waiting:
        begin = time.perf_counter()
        accepted = await publisher.accept(_submission(urgent=True))
        waited.append(await came[accepted.notification_ids[0]] - begin)
        await asyncio.sleep(EVERY)
    left = 2 * waiting - came.normal
    working.cancel()
    for client in (publisher, worker):
        await client.close()
    milliseconds = sorted(each * 1e3 for each in waited)
    return {
        "median_ms": statistics.median(milliseconds),
        "p99_ms": milliseconds[int(len(milliseconds) * 0.99)],
        "longest_ms": milliseconds[-1],
        "probes": len(waited),
        "normal_waiting_at_first": 2 * waiting,
        "normal_waiting_at_last": left,
    }


class _Arrivals(dict[int, "asyncio.Future[float]"]):
    """When each urgent notification was leased, which may be before its publisher has heard of the commit; and how many
    normal ones were."""

    normal = 0

    def __missing__(self, id_: int) -> "asyncio.Future[float]":
        self[id_] = asyncio.get_running_loop().create_future()
        return self[id_]


async def _work(client: Client, came: _Arrivals) -> None:
    """Completes whatever comes."""
    running: set[asyncio.Task[None]] = set()
    async for lease in client.consume(ours.STAGES[0], credit=CREDIT):
        if lease.urgent:
            came[lease.id].set_result(time.perf_counter())
        else:
            came.normal += 1
        running.add(task := asyncio.create_task(lease.complete("done")))
        task.add_done_callback(running.discard)


async def _memory(socket: Path, process: "subprocess.Popen[bytes]", count: int) -> dict[str, float]:
    client, broker, first = await Client.connect(socket), psutil.Process(process.pid), int(count * _SETTLED)
    begin = time.perf_counter()
    await _publish(client, first, "settling")
    await _drained(client, first)
    before = broker.memory_info().rss
    await _publish(client, count - first, "memory")
    await _drained(client, count)
    after, passed = broker.memory_info().rss, time.perf_counter() - begin
    await client.close()
    return {"messages": count, "growth_mib": (after - before) / 2**20, "messages_per_s": count / passed}


async def _publish(client: Client, count: int, what: str) -> None:
    """As fast as the broker commits them."""
    numbers = iter(tqdm(range(count), desc=what, unit="mail", mininterval=1.0))

    async def one_after_the_other() -> None:
        for _ in numbers:
            await client.accept(_submission(urgent=False))

    await asyncio.gather(*(one_after_the_other() for _ in range(contender.CONCURRENCY)))


async def _drained(client: Client, count: int) -> None:
    while True:
        rows = await client.query("depths")
        if sum(row["count"] for row in rows if row["state"] == "delivered") == count:
            return
        await asyncio.sleep(0.25)


def _submission(*, urgent: bool) -> Submission:
    return Submission("bench", b"x" * 1024, (Recipient(bytes(32), b"address"),), urgent=urgent)
