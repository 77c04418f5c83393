"""What is durable: accepted/s by clients, and notifications/s through five stages, beside the disk's own floor."""

import asyncio
import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from experiments.benchmarks.measuring import Measured, interleaved
from experiments.benchmarks.queue import contender, ours, peers
from serving.queue.blocking import BlockingClient
from serving.queue.client import Client, Recipient, Submission

CLIENTS = (1, 16, 64)
ROWS_A_COMMIT = 50
OURS, OURS_POSTGRESQL = "ours, SQLite", "ours, PostgreSQL"

_BODY = b"x" * 1024
_numbers = itertools.count(1)
_LOOK = 0.1  # seconds; whoever is asked is the one under load


def floor(folder: Path, repeats: int, seconds: float) -> dict[str, Measured]:
    """Rows/s that the disk takes in group commits of 1, 16, 50 and 64 rows of 1 KiB: WAL, synchronous=FULL, no more."""
    cases = {f"{rows} a commit": _rows(folder, rows, seconds) for rows in (1, 16, ROWS_A_COMMIT, 64)}
    return interleaved(cases, repeats, "commits")


def accepted(folder: Path, repeats: int, seconds: float) -> dict[str, dict[str, Measured]]:
    """accepted/s: each client publishes 1 KiB, waits for the commit, and publishes the next."""
    with ExitStack() as stack:
        sqlite = stack.enter_context(ours.broker(new(folder)))
        postgresql = stack.enter_context(ours.broker(new(folder), contender.postgresql(stack)))
        found: dict[str, dict[str, Measured]] = {OURS: {}, OURS_POSTGRESQL: {}}
        for clients in CLIENTS:
            cases = {
                name: _accepting(running.socket, clients, seconds)
                for name, running in ((OURS, sqlite), (OURS_POSTGRESQL, postgresql))
            }
            label = f"{clients} clients"
            for name, measured in interleaved(cases, repeats, f"accepting, {label}").items():
                found[name][label] = measured
    return found


def fsyncs(folder: Path) -> dict[str, int]:
    """How often our broker had the disk confirm 100 messages: one after the other, and from many clients at once."""
    with ours.broker(new(folder)) as running:
        return {f"{clients} clients": _fsyncs(folder, running, clients) for clients in CLIENTS}


def five_stages(folder: Path, repeats: int, counts: dict[str, int]) -> dict[str, Measured]:
    """notifications/s from the first publish to the last end, workers waiting; `counts` says how many for whom."""
    with ExitStack() as stack:
        queues = {
            OURS: _our_queue(stack, folder, ""),
            OURS_POSTGRESQL: _our_queue(stack, folder, contender.postgresql(stack)),
        }
        queues |= {name: start(stack, folder) for name, start in peers.PEERS.items() if name in counts}
        cases = {name: through(queue, counts[name]) for name, queue in queues.items()}
        return interleaved(cases, repeats, "five stages")


def new(folder: Path) -> Path:
    made = folder / str(next(_numbers))
    made.mkdir()
    return made


def _rows(folder: Path, rows: int, seconds: float) -> Callable[[], float]:
    def run() -> float:
        path = folder / f"floor-{next(_numbers)}"
        connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")
        count, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO message (body) VALUES (?)", ((os.urandom(1024),) for _ in range(rows)))
            connection.execute("COMMIT")
            count += rows
        connection.close()
        for left in folder.glob(f"{path.name}*"):
            left.unlink()
        return count / passed

    return run


def _accepting(socket: Path, clients: int, seconds: float) -> Callable[[], float]:
    async def keep_on(client: Client, until: float) -> int:
        count = 0
        while time.perf_counter() < until:
            await client.accept(_submission())
            count += 1
        return count

    async def work() -> float:
        connected = [await Client.connect(socket) for _ in range(clients)]
        begin = time.perf_counter()
        counts = await asyncio.gather(*(keep_on(client, begin + seconds) for client in connected))
        passed = time.perf_counter() - begin
        for client in connected:
            await client.close()
        return sum(counts) / passed

    return lambda: asyncio.run(work())


def _fsyncs(folder: Path, running: ours.Running, clients: int) -> int:
    program, trace = shutil.which("strace"), folder / f"strace-{clients}"
    if program is None:
        raise SystemExit("strace is missing; `make bench-queue` installs it")

    async def publish() -> None:
        connected = [await Client.connect(running.socket) for _ in range(clients)]
        numbers = iter(range(100))

        async def keep_on(client: Client) -> None:
            for _ in numbers:
                await client.accept(_submission())

        tracing = await asyncio.create_subprocess_exec(
            *(program, "-f", "-e", "trace=fsync,fdatasync", "-o", trace, "-p", str(running.process.pid)),
            stderr=asyncio.subprocess.PIPE,
        )
        if tracing.stderr is not None:
            await tracing.stderr.readline()  # it says so when it is attached
        await asyncio.gather(*(keep_on(client) for client in connected))
        tracing.terminate()
        await tracing.wait()
        for client in connected:
            await client.close()

    asyncio.run(publish())
    return sum("sync(" in line and "resumed" not in line for line in trace.read_text(encoding="utf-8").splitlines())


def _our_queue(stack: ExitStack, folder: Path, store: str) -> contender.Queue:
    running = stack.enter_context(ours.broker(new(folder), store))
    worker = running.worker(*ours.STAGES)
    stack.callback(ours.end, worker)
    return our_queue(running, stack.enter_context(BlockingClient(running.socket, timeout=60)))


def our_queue(running: ours.Running, asking: BlockingClient) -> contender.Queue:
    """Our broker as a contender; whoever calls has workers at work."""

    async def publish(count: int) -> None:
        client, numbers = await Client.connect(running.socket), iter(range(count))

        async def one_after_the_other() -> None:
            for _ in numbers:
                await client.accept(_submission())

        await asyncio.gather(*(one_after_the_other() for _ in range(contender.CONCURRENCY)))
        await client.close()

    def ended() -> int:
        return sum(row["count"] for row in asking.query("depths") if row["state"] == "delivered")

    return contender.Queue(lambda count: asyncio.run(publish(count)), ended)


def through(queue: contender.Queue, count: int) -> Callable[[], float]:
    """A run of so many notifications, from the first publish to the last end; it returns notifications/s."""

    def run() -> float:
        goal, begin = queue.ended() + count, time.perf_counter()
        queue.publish(count)
        while queue.ended() < goal:
            if time.perf_counter() - begin > 300:
                raise SystemExit(f"after five minutes {goal - queue.ended()} of {count} have not come through")
            time.sleep(_LOOK)
        return count / (time.perf_counter() - begin)

    return run


def _submission() -> Submission:
    return Submission("bench", _BODY, (Recipient(bytes(32), b"address"),))
