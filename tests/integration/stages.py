"""Stages at work in this process, over a real broker, and where a notification is meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from serving.errors import BrokerUnavailable
from serving.pipeline import Outcome, Stage
from serving.queue.client import Client
from serving.stage import Handler, Shortfall, Work, serve
from tests.integration.peers import submission


def always(outcome: Outcome) -> Handler:
    async def handle(_: Work) -> Outcome:
        return outcome

    return handle


@asynccontextmanager
async def working(
    client: Client, handlers: Mapping[Stage, Handler], unfunded: Shortfall | None = None
) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """The stages, until the block ends."""
    tasks = [
        asyncio.create_task(serve(stage, client, handle, concurrency=4, unfunded=unfunded))
        for stage, handle in handlers.items()
    ]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def accept(client: Client) -> int:
    return (await client.accept(submission())).notification_ids[0]


async def row(client: Client, id_: int) -> dict[str, Any]:
    (found,) = await client.query("notification", id=str(id_))
    return found


async def is_at(client: Client, id_: int, state: str) -> bool:
    with suppress(BrokerUnavailable):
        return bool((await row(client, id_))["state"] == state)
    return False


async def kinds(client: Client, id_: int) -> list[str]:
    return [event["kind"] for event in await client.query("events", id=str(id_))]
