"""DBOS over PostgreSQL: a workflow of five steps, each of which is written down before the next begins."""

import time
from contextlib import ExitStack
from pathlib import Path

from experiments.benchmarks.queue.contender import CONCURRENCY, STAGES, Queue, postgresql, worker

NAME, QUEUE = "hops", "bench"


def dbos(stack: ExitStack, folder: Path) -> Queue:
    """Workflows are enqueued by its client and taken by one worker."""
    del folder
    import psycopg
    from dbos import DBOSClient, run_dbos_database_migrations

    url = postgresql(stack)
    run_dbos_database_migrations(url)
    worker(stack, "dbos", url)
    connection = stack.enter_context(psycopg.connect(url, autocommit=True))
    client = DBOSClient(system_database_url=url)
    stack.callback(client.destroy)

    def publish(count: int) -> None:
        for _ in range(count):
            client.enqueue({"workflow_name": NAME, "queue_name": QUEUE}, "x" * 1024)

    def ended() -> int:
        row = connection.execute("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'").fetchone()
        return int(row[0]) if row else 0

    return Queue(publish, ended)


def dbos_worker(url: str) -> None:
    """The application."""
    from dbos import DBOS

    app = DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})

    def pass_on(body: str) -> str:
        return body

    hop = DBOS.step(name="hop")(pass_on)

    def hops(body: str) -> None:
        for _ in range(STAGES):
            body = hop(body)

    DBOS.workflow(name=NAME)(hops)
    app.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=0.05)
    while True:
        time.sleep(1)
