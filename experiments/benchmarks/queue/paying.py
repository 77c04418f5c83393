"""What money costs: the five stages with a hold at the second and its capture at the fourth, and without."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from experiments.benchmarks.measuring import interleaved
from experiments.benchmarks.queue import contender, durable, ours
from serving.queue.blocking import BlockingClient

WALLET = "wallet:bench"
FUNDS = 2_000_000_000  # minor units: a cent for each notification, and it never runs out
ACCOUNTS = ("wallet:", "hold:", "revenue")
WORKER = """
import asyncio, sys
from pathlib import Path
from serving import money
from serving.queue.client import Client
from serving.queue.lease import Hop
def hop(lease, stage):
    if stage == "two":
        return Hop({"hold": {"amount": 1}}, postings=money.hold(lease.id, "wallet:bench", 1), currency="EUR")
    if stage == "four":
        return Hop(postings=money.capture(lease.id, "wallet:bench", 1, 1), currency="EUR")
async def work(client, stage):
    running = set()
    async for lease in client.consume(stage, credit=256):
        running.add(task := asyncio.create_task(lease.complete("done", hop(lease, stage))))
        task.add_done_callback(running.discard)
async def main():
    client = await Client.connect(Path(sys.argv[1]))
    await asyncio.gather(*(work(client, stage) for stage in sys.argv[2:]))
asyncio.run(main())
"""


def measure(folder: Path, repeats: int, count: int) -> dict[str, Any]:
    """Hold and capture pairs a second within the five stages, and the share of the time that they add."""
    with ExitStack() as stack:
        queues = {name: _queue(stack, folder, script) for name, script in (("free", ours.WORKER), ("paid", WORKER))}
        cases: dict[str, Callable[[], float]] = {name: durable.through(queue, count) for name, queue in queues.items()}
        found = interleaved(cases, repeats, "with and without money")
    free, paid = found["free"], found["paid"]
    return {
        "pairs_per_s": paid.report(),
        "free_per_s": free.report(),
        "share_of_time": 1 - paid.median / free.median,
    }


def _queue(stack: ExitStack, folder: Path, script: str) -> contender.Queue:
    running = stack.enter_context(ours.broker(durable.new(folder), accounts=ACCOUNTS))
    client = stack.enter_context(BlockingClient(running.socket, timeout=60))
    _fund(client)
    worker: subprocess.Popen[bytes] = running.worker(*ours.STAGES, script=script)
    stack.callback(ours.end, worker)
    return durable.our_queue(running, client)


def _fund(client: BlockingClient) -> None:
    postings = [{"account": WALLET, "amount": FUNDS}, {"account": "clearing:bench", "amount": -FUNDS}]
    transfer = {"key": "funds", "currency": "EUR", "postings": postings}
    client.execute("open_intent", key="funds", verb="charge", notification=None, payload={})
    client.execute("close_intent", key="funds", state="done", outcome={}, transfer=transfer)
