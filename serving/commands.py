"""What the command line needs of a running service: a client, errors in one line, rows as a table."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from serving.errors import BrokerUnavailable, ConfigurationError
from serving.queue.client import Client
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.enrolment import Registrar

Value = TypeVar("Value")

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]

CONNECT_WITHIN = 2.0
TIMES = frozenset({"at", "oldest", "available_at", "accepted_at", "died_at", "until", "rotated_at", "gone_at"})


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


async def registered(client: Client, lookup: str) -> dict[str, Any]:
    """The recipient with that lookup (hexadecimal), as the store has it; ConfigurationError where there is none."""
    rows = await client.query("recipient", lookup=lookup)
    if not rows:
        raise ConfigurationError("nobody is registered under that address; see `clarion recipient add`")
    return rows[0]


def registrar(settings: Settings, client: Client) -> "Registrar":
    """Who enrols, with the keys of this machine."""
    from serving.enrolment import Registrar
    from serving.keyring import load_sealing
    from serving.sealing import load_lookup

    return Registrar(client, load_sealing(settings.keys, "content"), load_lookup(settings.keys))


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows for a person, or as JSON for a program."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    table = Table(*(rows[0] if rows else ("nothing",)), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    Console().print(table)


def tell(events: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what happened to a notification, for a person a line each and the detail below it; times are UTC."""
    if as_json:
        print(json.dumps([{**event, "at": readable(event["at"])} for event in events], indent=2))
        return
    for event in events:
        where, onward = event["stage"] or "", f" → {event['next']}" if event["next"] else ""
        print(f"{readable(event['at'])}  {where:<14} {event['kind']}{onward}")
        for name, value in event["detail"].items():
            print(f"    {name}: {_detail(value)}")


def readable(at: float) -> str:
    """Seconds since the epoch as a person writes UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def duration(seconds: float | None) -> str:
    """As a person says it, in the two largest units; empty for None."""
    if seconds is None:
        return ""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    return readable(value) if name in TIMES else str(value)


def _detail(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_detail(each)}" for name, each in value.items() if each is not None)
    return str(value)
