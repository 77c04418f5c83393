"""How long a mail takes at a steady rate: to the 250 that accepts it, and from there to the receiver's."""

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from experiments.benchmarks.delivery import people
from experiments.benchmarks.delivery.arrivals import Answered, Receiver, arrive, receiving, spread
from experiments.benchmarks.delivery.smtp import LENGTH, Load
from serving.identifiers import parse_id
from serving.queue.client import Client
from serving.settings import Settings

ACCEPT_RATE, URGENT_RATE = 100.0, 20.0
PATIENCE = 900.0


async def accepting(port: int, seconds: float) -> Mapping[str, Any]:
    """From the last octet to the 250, at 100 a second. What others left for the disk to write is written first:
    Postfix's queue of thousands of files was removed a moment ago, and an fsync would wait for that."""
    await asyncio.to_thread(os.sync)
    answered = await arrive(port, ACCEPT_RATE, seconds, people.FROM, people.RECIPIENT, LENGTH)
    return {"rate": ACCEPT_RATE, **spread([each.seconds for each in answered])}


async def urgent(settings: Settings, others: int, seconds: float) -> Mapping[str, Any]:
    """From the 250 that accepts an urgent mail to the 250 of its receiver, at 20 a second while `others` wait."""
    client = await Client.connect(settings.socket)
    load = Load(people.STRANGER, people.RECIPIENT)
    async with receiving(settings.smtp_port) as receiver:
        await asyncio.to_thread(load.send, settings.intake_port, others)
        waiting = await _settled(client, others)
        answered = await arrive(settings.intake_port, URGENT_RATE, seconds, people.FROM, people.RECIPIENT, LENGTH)
        await receiver.wait_for(len(answered), PATIENCE)
        took = await _took(client, receiver, answered)
        still = await _deferred(client)
    await client.close()
    return {"rate": URGENT_RATE, "others_waiting": min(waiting, still), **spread(took)}


async def _settled(client: Client, others: int) -> int:
    """How many wait for their time, once nothing else moves."""
    deadline = time.monotonic() + PATIENCE
    while (waiting := await _deferred(client)) < others:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {waiting} of {others} mails wait for their digest")
        await asyncio.sleep(0.5)
    return waiting


async def _deferred(client: Client) -> int:
    return sum(int(row["count"]) for row in await client.query("depths") if row["state"] == "deferred")


async def _took(client: Client, receiver: Receiver, answered: list[Answered]) -> list[float]:
    """Seconds by mail: the receiver knows the notification's id, the sender the message's."""
    accepted = {parse_id(each.word): each.at for each in answered}
    took = []
    for word, at in receiver.at.items():
        (row,) = await client.query("notification", id=str(parse_id(word)))
        took.append(at - accepted[int(row["message"])])
    return took
