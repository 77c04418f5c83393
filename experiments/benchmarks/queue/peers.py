"""The other queues by name, and what their workers' processes run."""

from collections.abc import Callable

from experiments.benchmarks.queue.contender import Start
from experiments.benchmarks.queue.contenders.celery_tasks import celery, celery_worker
from experiments.benchmarks.queue.contenders.dbos_workflows import dbos, dbos_worker
from experiments.benchmarks.queue.contenders.huey_tasks import huey, huey_worker
from experiments.benchmarks.queue.contenders.jetstream import jetstream, jetstream_durable, jetstream_worker
from experiments.benchmarks.queue.contenders.pgmq_batches import pgmq, pgmq_worker
from experiments.benchmarks.queue.contenders.procrastinate_tasks import procrastinate, procrastinate_worker

PEERS: dict[str, Start] = {
    "pgmq, batches of 50": pgmq,
    "JetStream, sync always": jetstream_durable,
    "JetStream (not durable)": jetstream,
    "DBOS, PostgreSQL": dbos,
    "procrastinate": procrastinate,
    "huey, SQLite": huey,
    "Celery, Redis": celery,
}
NOT_DURABLE = frozenset({"JetStream (not durable)"})

WORKERS: dict[str, Callable[[str], None]] = {
    "pgmq": pgmq_worker,
    "jetstream": jetstream_worker,
    "dbos": dbos_worker,
    "procrastinate": procrastinate_worker,
    "huey": huey_worker,
    "celery": celery_worker,
}
