"""Celery over Redis: appendfsync always, acknowledged late."""

import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from experiments.benchmarks.queue.contender import STAGES, Queue, worker
from experiments.benchmarks.queue.ours import end


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
