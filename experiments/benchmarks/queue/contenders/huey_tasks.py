"""huey over SQLite, fsync on."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from experiments.benchmarks.queue.contender import STAGES, Queue, worker

THREADS = 8


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
