"""`clarion suppression`: addresses that nothing is sent to, because a receiver has said that they are none."""

from typing import Annotated, Any

import typer

from serving.addresses import domain_of
from serving.commands import AsJson, ask, show
from serving.errors import ConfigurationError
from serving.queue.client import Client
from serving.sealing import load_lookup
from serving.settings import Settings

suppression = typer.Typer(help="Addresses that nothing is sent to.", no_args_is_help=True)

PAGE = 1_000


@suppression.command("list")
def list_suppressions(
    address: Annotated[str | None, typer.Argument(help="Only whether this one is suppressed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Whom nothing is sent to, why, since when and until when; addresses are kept as their lookups alone."""
    settings = Settings.read()
    if address is not None:
        lookup = _lookup(settings, address)
        found = ask(settings, lambda client: client.query("suppressed", lookup=lookup))
        show([{"lookup": lookup, **row} for row in found], as_json=as_json)
        return
    rows = ask(settings, _all)
    show(sorted(rows, key=lambda row: row["at"]), as_json=as_json)


@suppression.command("add")
def add(
    address: str,
    days: Annotated[float | None, typer.Option(min=0, help="For so long; else until it is removed.")] = None,
    reason: Annotated[str, typer.Option(help="What its senders are told.")] = "an operator suppressed it",
) -> None:
    """Send nothing there: what comes for it is dead at once, and its sender is told."""
    settings = Settings.read()
    lookup, seconds = _lookup(settings, address), None if days is None else days * 86_400.0
    if not (reason.isascii() and reason.isprintable() and len(reason) <= 160):
        raise ConfigurationError("--reason takes one line of ASCII, at most 160 characters")

    async def work(client: Client) -> None:
        await client.execute("unsuppress", lookup=lookup)
        await client.execute("suppress", lookup=lookup, reason=reason, seconds=seconds)

    ask(settings, work)
    print("suppressed")


@suppression.command("remove")
def remove(address: str) -> None:
    """Send there again."""
    settings = Settings.read()
    lookup = _lookup(settings, address)
    answer = ask(settings, lambda client: client.execute("unsuppress", lookup=lookup))
    print("removed" if answer["removed"] else "it was not suppressed")


async def _all(client: Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        page = await client.query("suppressions", after=rows[-1]["lookup"] if rows else "", limit=PAGE)
        rows += page
        if len(page) < PAGE:
            return rows


def _lookup(settings: Settings, address: str) -> str:
    if domain_of(address) is None:
        raise ConfigurationError("that is no address; write it as name@example.org")
    return load_lookup(settings.keys).address(address).hex()
