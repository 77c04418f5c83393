"""`clarion queue`: where notifications are, and what an operator does about it."""

import time
from typing import Annotated, Any

import typer

from serving.commands import AsJson, ask, duration, show, tell
from serving.errors import ConfigurationError, Refused
from serving.identifiers import format_id, parse_id
from serving.queue.client import Client
from serving.settings import Settings

queue = typer.Typer(help="Where notifications are.", no_args_is_help=True)

Limit = Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")]


@queue.command("depths")
def depths(as_json: AsJson = False) -> None:
    """How many notifications are where, and how long the one that is due longest has waited."""
    rows, now = _ask("depths"), time.time()
    for row in rows:
        overdue = row["state"] == "queued" and row["oldest"] is not None and row["oldest"] < now
        age = now - row["oldest"] if overdue else None
        row["age"] = age if as_json else duration(age)
    show(rows, as_json=as_json)


@queue.command("peek")
def peek(
    stage: str,
    state: Annotated[str, typer.Option(help="queued, leased, deferred or parked.")] = "queued",
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """What waits at a stage, the next one first. Bodies and addresses are sealed; neither is shown."""
    show([_named(row) for row in _ask("peek", stage=stage, state=state, limit=limit)], as_json=as_json)


@queue.command("dead")
def dead(limit: Limit = 20, as_json: AsJson = False) -> None:
    """Dead letters, the last one first: where each was, why, and whether it was sent again."""
    show([_named(row) for row in _ask("dead_letters", limit=limit)], as_json=as_json)


@queue.command("show")
def show_notification(notification: str, as_json: AsJson = False) -> None:
    """How one notification got where it is; of a message, which notifications it became."""
    number = _number(notification)
    if rows := _ask("events", id=number):
        tell(rows, as_json=as_json)
    elif found := _ask("message", id=number):
        show([_named({name: row[name] for name in ("id", "stage", "state")}) for row in found], as_json=as_json)
    else:
        raise ConfigurationError("no such notification or message; ids are in our answer to who sent it")


@queue.command("retry")
def retry(notification: str) -> None:
    """Let what is parked, deferred or between two attempts go on now."""
    _do("retry", id=_number(notification))
    print("it goes on")


@queue.command("kill")
def kill(
    notification: str,
    cause: Annotated[str, typer.Option(help="Written into its history.")] = "killed by the operator",
) -> None:
    """Give up what waits: it becomes a dead letter, and what was held for it returns to the payer."""
    _do("kill", id=_number(notification), cause=cause)
    print("dead; `clarion queue replay` sends it again")


@queue.command("replay")
def replay(
    notification: Annotated[str | None, typer.Argument(help="A dead letter; leave it out with --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter that was not sent again yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters again, each as a new notification, and print their new ids."""
    if (notification is None) is not everything:
        raise ConfigurationError("name one dead letter, or give --all")
    numbers = [_number(notification)] if notification else _unreplayed()
    rows = [_do("replay", id=number) for number in numbers]
    show([{"dead": format_id(int(row["of"])), "again": format_id(int(row["id"]))} for row in rows], as_json=as_json)


def _unreplayed() -> list[str]:
    return [row["id"] for row in _ask("dead_letters", limit=1_000) if row["replayed"] is None]


def _ask(name: str, **parameters: Any) -> list[dict[str, Any]]:
    async def work(client: Client) -> list[dict[str, Any]]:
        return await client.query(name, **parameters)

    return ask(Settings.read(), work)


def _do(name: str, **parameters: Any) -> dict[str, Any]:
    try:
        (row,) = _ask(name, **parameters)
    except Refused as refused:
        raise ConfigurationError(f"{refused.detail}; `clarion queue show` tells where it is") from None
    return row


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """Ids as the API writes them."""
    named = ("id", "message", "replayed")
    return {name: format_id(int(value)) if name in named and value else value for name, value in row.items()}


def _number(notification: str) -> str:
    try:
        return str(parse_id(notification))
    except ValueError as error:
        raise ConfigurationError(f"that is no notification: {error}") from None
