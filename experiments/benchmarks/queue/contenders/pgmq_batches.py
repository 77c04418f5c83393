"""pgmq: the extension's own SQL, in batches."""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from experiments.benchmarks.queue.contender import BATCH, STAGES, Queue, postgresql, worker


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
