"""The other queues, each as its users would write it: five tasks in a row that do nothing, each hop durable.

A queue's `start` brings its server, its schema and one worker's process; what it returns publishes messages and counts
those that have come to the end.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.benchmarks.queue.ours import end

STAGES = 5
BATCH = 50  # pgmq reads, sends and deletes so many in one transaction
THREADS = 8  # of huey's worker
CONCURRENCY = 64  # of procrastinate's worker


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


# ---- pgmq: the extension's own SQL, in batches ----
def pgmq(stack: ExitStack, folder: Path) -> Queue:
    """Read a batch, send it on and delete it, in one transaction."""
    del folder
    import pgmq as library
    import psycopg

    url = postgresql(stack)
    connection = stack.enter_context(psycopg.connect(url, autocommit=True))
    connection.execute((Path(library.__file__).parent / "sql" / "pgmq.sql").read_bytes())
    for stage in range(STAGES + 1):
        connection.execute("SELECT pgmq.create(%s)", (f"s{stage}",))
    worker(stack, "pgmq", url)
    message = json.dumps({"body": "x" * 1024})

    def publish(count: int) -> None:
        for start in range(0, count, BATCH):
            messages = [message] * min(BATCH, count - start)
            connection.execute("SELECT pgmq.send_batch('s0', %s::jsonb[])", (messages,))

    def ended() -> int:
        row = connection.execute("SELECT queue_length FROM pgmq.metrics(%s)", (f"s{STAGES}",)).fetchone()
        return int(row[0]) if row else 0

    return Queue(publish, ended)


def pgmq_worker(url: str) -> None:
    """All stages in turn."""
    import psycopg

    with psycopg.connect(url) as connection:
        while True:
            moved = sum(_pgmq_hop(connection, stage) for stage in range(STAGES))
            if not moved:
                time.sleep(0.005)


def _pgmq_hop(connection: Any, stage: int) -> int:
    with connection.transaction():
        rows = connection.execute("SELECT msg_id, message FROM pgmq.read(%s, 30, %s)", (f"s{stage}", BATCH)).fetchall()
        if rows:
            messages = [json.dumps(row[1]) for row in rows]
            connection.execute("SELECT pgmq.send_batch(%s, %s::jsonb[])", (f"s{stage + 1}", messages))
            connection.execute("SELECT pgmq.delete(%s, %s::bigint[])", (f"s{stage}", [row[0] for row in rows]))
    return len(rows)


# ---- NATS JetStream: a stream a stage ----
def jetstream(stack: ExitStack, folder: Path) -> Queue:
    """As it comes: acknowledged before fsync, so it does not count. Debian's 2.9 cannot be told to sync always."""
    from experiments.benchmarks.queue.transport import nats_server

    home = folder / f"jetstream-{time.monotonic_ns()}"
    url = nats_server(stack, folder, f"jetstream {{ store_dir: {home} }}\n")
    runner = stack.enter_context(asyncio.Runner())

    async def connect() -> tuple[Any, Any]:
        import nats

        client = await nats.connect(url)
        context = client.jetstream()
        for stage in range(STAGES + 1):
            await context.add_stream(name=f"s{stage}", subjects=[f"s{stage}"])
        return client, context

    client, context = runner.run(connect())
    stack.callback(lambda: runner.run(client.close()))
    worker(stack, "jetstream", url)

    async def publish(count: int) -> None:
        for start in range(0, count, CONCURRENCY):
            some = range(min(CONCURRENCY, count - start))
            await asyncio.gather(*(context.publish("s0", b"x" * 1024) for _ in some))

    async def ended() -> int:
        return int((await context.stream_info(f"s{STAGES}")).state.messages)

    return Queue(lambda count: runner.run(publish(count)), lambda: runner.run(ended()))


def jetstream_worker(url: str) -> None:
    """A durable pull consumer a stage; published on first, acknowledged then."""

    async def stage(context: Any, number: int) -> None:
        subscription = await context.pull_subscribe(f"s{number}", durable=f"w{number}")

        async def hop(message: Any) -> None:
            await context.publish(f"s{number + 1}", message.data)
            await message.ack_sync()

        while True:
            try:
                messages = await subscription.fetch(BATCH, timeout=1)
            except TimeoutError:  # nothing came
                continue
            await asyncio.gather(*map(hop, messages))

    async def run() -> None:
        import nats

        client = await nats.connect(url)
        await asyncio.gather(*(stage(client.jetstream(), number) for number in range(STAGES)))

    asyncio.run(run())


# ---- procrastinate: a task defers the next ----
def _procrastinate(url: str) -> tuple[Any, Any]:
    import procrastinate as library

    app = library.App(connector=library.PsycopgConnector(conninfo=url))

    async def hop(stage: int, body: str) -> None:
        if stage < STAGES:
            await app.configure_task("hop", queue=f"s{stage}").defer_async(stage=stage + 1, body=body)

    return app, app.task(name="hop")(hop)


def procrastinate(stack: ExitStack, folder: Path) -> Queue:
    """Jobs are rows; a job that succeeded stays."""
    del folder
    import psycopg

    url = postgresql(stack)
    app, hop = _procrastinate(url)
    runner = stack.enter_context(asyncio.Runner())
    connection = stack.enter_context(psycopg.connect(url, autocommit=True))

    async def make() -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def publish(count: int) -> None:
        async with app.open_async():
            for start in range(0, count, CONCURRENCY):
                some = range(min(CONCURRENCY, count - start))
                await asyncio.gather(*(hop.defer_async(stage=1, body="x" * 1024) for _ in some))

    def ended() -> int:
        query = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded' AND args->>'stage' = %s"
        row = connection.execute(query, (str(STAGES),)).fetchone()
        return int(row[0]) if row else 0

    runner.run(make())
    worker(stack, "procrastinate", url)
    return Queue(lambda count: runner.run(publish(count)), ended)


def procrastinate_worker(url: str) -> None:
    """Its own worker."""
    app, _ = _procrastinate(url)

    async def run() -> None:
        async with app.open_async():
            await app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)

    asyncio.run(run())


# ---- huey: SQLite, fsync on ----
def _huey(path: str) -> tuple[Any, Any]:
    from huey import SqliteHuey

    queue = SqliteHuey("bench", filename=path, fsync=True, results=False)

    @queue.task(name="hop")  # type: ignore[untyped-decorator]
    def hop(stage: int, body: str) -> None:
        if stage < STAGES:
            hop(stage + 1, body)
        else:
            with Path(f"{path}.ended").open("ab") as file:
                file.write(b"x")
                os.fsync(file.fileno())

    return queue, hop


def huey(stack: ExitStack, folder: Path) -> Queue:
    """A task calls the next; taken from the table when it begins, so a worker that dies takes it along."""
    path = str(folder / f"huey-{time.monotonic_ns()}.db")
    _, hop = _huey(path)
    ended = Path(f"{path}.ended")
    ended.touch()
    worker(stack, "huey", path)

    def publish(count: int) -> None:
        for _ in range(count):
            hop(1, "x" * 1024)

    return Queue(publish, lambda: ended.stat().st_size)


def huey_worker(path: str) -> None:
    """Its own consumer, in threads."""
    queue, _ = _huey(path)
    queue.create_consumer(workers=THREADS, worker_type="thread", initial_delay=0.01, max_delay=0.05).run()


# ---- Celery over Redis, appendfsync always, acknowledged late ----
def _celery(url: str) -> tuple[Any, Any]:
    from celery import Celery

    app = Celery("bench", broker=url, backend=None)
    app.conf.update(task_acks_late=True, task_ignore_result=True, worker_prefetch_multiplier=8)

    @app.task(name="hop")  # type: ignore[untyped-decorator]
    def hop(stage: int, body: str) -> None:
        if stage < STAGES:
            hop.delay(stage + 1, body)
        else:
            import redis

            redis.Redis(unix_socket_path=url.partition("://")[2]).incr("ended")

    return app, hop


def celery(stack: ExitStack, folder: Path) -> Queue:
    """A task delays the next."""
    import redis

    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is missing: `make bench-queue` installs it")
    home = folder / f"redis-{time.monotonic_ns()}"
    home.mkdir()
    path = home / "r.sock"
    options = ["--port", "0", "--unixsocket", path, "--dir", home, "--appendonly", "yes", "--appendfsync", "always"]
    server = subprocess.Popen([program, *map(str, options)], stdout=subprocess.DEVNULL)
    stack.callback(end, server)
    while not path.exists():
        time.sleep(0.05)
    client = redis.Redis(unix_socket_path=str(path))
    url = f"redis+socket://{path}"
    _, hop = _celery(url)
    worker(stack, "celery", url)

    def publish(count: int) -> None:
        for _ in range(count):
            hop.delay(1, "x" * 1024)

    return Queue(publish, lambda: int(client.get("ended") or 0))


def celery_worker(url: str) -> None:
    """Its own worker, two processes."""
    app, _ = _celery(url)
    app.worker_main(["worker", "--concurrency=2", "--loglevel=ERROR", "--without-gossip", "--without-mingle"])


PEERS: dict[str, Start] = {
    "pgmq, batches of 50": pgmq,
    "JetStream (not durable)": jetstream,
    "procrastinate": procrastinate,
    "huey, SQLite": huey,
    "Celery, Redis": celery,
}
NOT_DURABLE = frozenset({"JetStream (not durable)"})

WORKERS: dict[str, Callable[[str], None]] = {
    "pgmq": pgmq_worker,
    "jetstream": jetstream_worker,
    "procrastinate": procrastinate_worker,
    "huey": huey_worker,
    "celery": celery_worker,
}
