"""Afterwards: every id that the store holds is asked of the broker, and must answer with its whole history."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from serving.pipeline import ENTRY
from serving.queue.client import Client
from serving.settings import Settings

TOGETHER = 100
PATIENCE = 120.0
"""Seconds until what the receiver has is settled: then nobody works on anything."""


async def histories(settings: Settings) -> Mapping[str, Any]:
    """How many ids there are, how many answered with a whole history, and in which states they are.

    Raises:
        TimeoutError: something is still worked on.
    """
    client = await Client.connect(settings.socket)
    await _rest(client)
    ids, whole, states = _ids(settings), 0, Counter[str]()
    for start in range(0, len(ids), TOGETHER):
        for state, is_whole in await asyncio.gather(*(_one(client, id_) for id_ in ids[start : start + TOGETHER])):
            states[state] += 1
            whole += is_whole
    await client.close()
    return {"ids": len(ids), "whole": whole, "states": dict(states)}


def is_whole(row: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bool:
    """From its acceptance to where it is now, each step begins where the one before it ended."""
    if not events or events[0]["kind"] != "accepted" or events[0]["next"] != ENTRY:
        return False
    place = events[0]["next"]
    for event in events[1:]:
        if event["stage"] != place:
            return False
        place = event["next"] or place
    return bool(place == (row["stage"] or row["state"]))


async def _rest(client: Client) -> None:
    """Until nobody works on anything."""
    until = time.monotonic() + PATIENCE
    while any(row["state"] in ("queued", "leased") for row in await client.query("depths")):
        if time.monotonic() > until:
            raise TimeoutError("something is still worked on")
        await asyncio.sleep(0.1)


async def _one(client: Client, id_: str) -> tuple[str, bool]:
    (row,), events = await client.query("notification", id=id_), await client.query("events", id=id_)
    return row["state"], is_whole(row, events)


def _ids(settings: Settings) -> list[str]:
    """Read beside the broker, which tells of ids but does not list them."""
    with closing(sqlite3.connect(f"file:{settings.store}?mode=ro", uri=True)) as connection:
        return [str(id_) for (id_,) in connection.execute("SELECT id FROM notification")]
