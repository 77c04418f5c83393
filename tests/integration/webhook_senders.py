"""Senders with webhooks, ends of their mail, and the loop that tells of them, for the tests of webhooks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

from serving.identifiers import format_id
from serving.queue.client import Client
from serving.sealing import LookupKey
from serving.webhooks.places import Places
from serving.webhooks.post import Post
from serving.webhooks.schedule import Schedule
from serving.webhooks.sending import Pace, Sending
from tests.integration.peers import submission

KEY = LookupKey(bytes(range(32)))
QUICK = Pace(tick=0.05, lease=2.0, pause=0.05, longest_pause=0.2, farewell=1.0)
SOON = Schedule(waits=(0.05,) * 20, longest=0.1)

Eventually = Callable[..., Awaitable[None]]


async def enrol(client: Client, principal: str, url: str) -> None:
    await client.execute("enroll_principal", id=principal, name="Ops", domains=[], policy={})
    await client.execute("set_webhook", principal=principal, url=url)


async def ended(client: Client, count: int, principal: str = "sender") -> list[str]:
    """That many notifications that an operator gave up: the quickest way to an end."""
    accepted = await client.accept(submission(recipients=count, principal=principal))
    ids = [str(id_) for id_ in accepted.notification_ids]
    await asyncio.gather(*(client.execute("kill", id=id_, cause="") for id_ in ids))
    return [format_id(int(id_)) for id_ in ids]


async def states(client: Client, principal: str = "sender") -> dict[str, int]:
    (row,) = await client.query("webhook", principal=principal)
    return {state: row[state] for state in ("waiting", "told", "given_up")}


@asynccontextmanager
async def sending(client: Client, pace: Pace = QUICK, schedule: Schedule = SOON) -> AsyncIterator[None]:
    """The program's loop, in this process."""

    def connect() -> Post:
        return Post(Places(), timeout=0.5, connections=pace.each)

    dice = Random(7)  # noqa: S311 - replayable, not secret
    task = asyncio.create_task(Sending(client, KEY, connect, dice, pace, schedule).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def told_all(client: Client, principal: str = "sender") -> bool:
    return (await states(client, principal))["waiting"] == 0
