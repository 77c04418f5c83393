"""NATS JetStream: a stream a stage."""

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from experiments.benchmarks.queue.contender import BATCH, CONCURRENCY, STAGES, Queue, worker


def jetstream(stack: ExitStack, folder: Path) -> Queue:
    """As it comes: acknowledged before fsync, so it does not count."""
    return _jetstream(stack, folder, "")


def jetstream_durable(stack: ExitStack, folder: Path) -> Queue:
    """Acknowledged after fsync."""
    return _jetstream(stack, folder, "sync_interval: always")


def _jetstream(stack: ExitStack, folder: Path, settings: str) -> Queue:
    from experiments.benchmarks.queue.transport import nats_server

    home = folder / f"jetstream-{time.monotonic_ns()}"
    url = nats_server(stack, folder, f"jetstream {{ store_dir: {home}, {settings} }}\n")
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
