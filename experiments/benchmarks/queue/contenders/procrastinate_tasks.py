"""procrastinate: a task defers the next."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from experiments.benchmarks.queue.contender import CONCURRENCY, STAGES, Queue, postgresql, worker


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
