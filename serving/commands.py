"""What the command line needs of a running service: a client, errors in one line, rows as a table."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from serving.errors import BrokerUnavailable
from serving.queue.client import Client
from serving.settings import Settings

Value = TypeVar("Value")

CONNECT_WITHIN = 2.0


def ask(settings: Settings, work: Callable[[Client], Awaitable[Value]]) -> Value:
    """What `work` returns with a client of the running broker.

    Raises:
        BrokerUnavailable: none runs; the message says how to start one.
    """

    async def run() -> Value:
        try:
            client = await Client.connect(settings.socket, timeout=CONNECT_WITHIN)
        except BrokerUnavailable:
            raise BrokerUnavailable(f"no broker at {settings.socket}; start one with `clarion serve`") from None
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run())


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows for a person, or as JSON for a program."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    table = Table(*(rows[0] if rows else ("nothing",)))
    for row in rows:
        table.add_row(*(json.dumps(cell) if isinstance(cell, dict | list) else str(cell) for cell in row.values()))
    Console().print(table)
