"""`clarion webhook`: where a sender is told what became of its mail, and what it was told."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands import AsJson, ask, show
from serving.errors import ConfigurationError, Refused, Temporary
from serving.identifiers import format_id, parse_id
from serving.queue.client import Client
from serving.sealing import load_lookup
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.webhooks.places import Places
    from serving.webhooks.post import Reply
    from serving.webhooks.signing import Event, Signer

webhook = typer.Typer(help="What senders are told of the end of their mail.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The sender's id; `clarion principal list` names them.")]
State = Annotated[str, typer.Option(help="waiting, told or given_up.")]
PAGE = 1_000


@webhook.command("set")
def set_webhook(id_: Id, url: Annotated[str, typer.Argument(help="https://…; http:// on this machine alone.")]) -> None:
    """Tell a sender from now on. Prints the secret (whsec_…) to check signatures by, where there is a new one."""
    settings = Settings.read()
    _check(settings, url)
    answer = _do(settings, "set_webhook", principal=id_, url=url)
    if answer["fresh"]:
        print(_secret(settings, id_, answer["version"]))
    else:
        print("the secret stays; `clarion webhook rotate` prints a new one")


@webhook.command("show")
def show_webhook(id_: Id, as_json: AsJson = False) -> None:
    """Where a sender is told, and how many events wait, were told or given up."""
    show([_stated(Settings.read(), id_)], as_json=as_json)


@webhook.command("rotate")
def rotate(id_: Id) -> None:
    """Print a new secret; for 24 hours each event is signed by the old one as well."""
    settings = Settings.read()
    answer = _do(settings, "rotate_webhook", principal=id_)
    print(_secret(settings, id_, answer["version"]))


@webhook.command("remove")
def remove(id_: Id) -> None:
    """Tell a sender nothing any more; what waits is given up."""
    answer = _do(Settings.read(), "remove_webhook", principal=id_)
    print(f"removed; {answer['given_up']} that waited were given up")


@webhook.command("test")
def test(id_: Id) -> None:
    """Send one signed event of type webhook.test now, and say what the receiver answered."""
    from serving.webhooks.signing import Signer, made

    settings = Settings.read()
    row = _stated(settings, id_)
    signer = Signer(load_lookup(settings.keys), id_, row["version"], row["rotated_at"])
    event = made(f"test_{secrets.token_hex(8)}", "webhook.test", time.time(), {})
    reply = asyncio.run(_sent(settings, row["url"], signer, event))
    if not reply.is_told:
        raise ConfigurationError(f"not told: {reply.words}")
    print(f"told: {reply.words}")


@webhook.command("list")
def list_events(
    id_: Id,
    state: State = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """What a sender was told or is to be told, the last first: when, how often it was tried, and the last answer."""
    if state not in ("", "waiting", "told", "given_up"):
        raise ConfigurationError("--state takes waiting, told or given_up")
    show([_told(row) for row in ask(Settings.read(), _events(id_, state, limit))], as_json=as_json)


@webhook.command("replay")
def replay(
    notification: Annotated[str, typer.Argument(help="A notification; leave it out with --since.")] = "",
    since: Annotated[
        datetime | None, typer.Option(help="All events of the sender since then, UTC.", formats=["%Y-%m-%dT%H:%M:%S"])
    ] = None,
    of: Annotated[str, typer.Option(help="With --since: the sender's id.")] = "",
) -> None:
    """Send again what was told or given up; each event keeps its webhook-id, so receivers that have it know."""
    if bool(notification) == bool(since and of):
        raise ConfigurationError("name a notification, or give --since and --of")
    if since is not None:
        values: dict[str, Any] = {"principal": of, "since": since.replace(tzinfo=UTC).timestamp()}
    else:
        values = {"notification": _number(notification)}
    print(f"{_do(Settings.read(), 'replay_webhooks', **values)['count']} are sent again")


def _places(settings: Settings) -> "Places":
    from serving.webhooks.places import Places

    return Places(settings.webhook_networks)


def _check(settings: Settings, url: str) -> None:
    """ConfigurationError where nothing would be sent there now."""
    from serving.webhooks.places import Impossible

    try:
        place = asyncio.run(_places(settings).find(url))
    except Temporary as error:
        raise ConfigurationError(f"not set: {error}") from None
    if isinstance(place, Impossible):
        raise ConfigurationError(f"not set: {place.reason}")


def _secret(settings: Settings, id_: str, version: int) -> str:
    from serving.webhooks.signing import secret

    return secret(load_lookup(settings.keys), id_, version)


async def _sent(settings: Settings, url: str, signer: "Signer", event: "Event") -> "Reply":
    from serving.webhooks.post import Post

    post = Post(_places(settings))
    try:
        return await post.send(url, signer.fields(event, time.time()), event.body)
    finally:
        await post.close()


def _stated(settings: Settings, id_: str) -> dict[str, Any]:
    rows = ask(settings, lambda client: client.query("webhook", principal=id_))
    if not rows:
        raise ConfigurationError("the sender has no webhook; see `clarion webhook set`")
    return rows[0]


def _events(id_: str, state: str, limit: int) -> Callable[[Client], Awaitable[list[dict[str, Any]]]]:
    """Page by page."""

    async def work(client: Client) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        before: dict[str, int] = {}
        while len(rows) < limit:
            count = min(limit - len(rows), PAGE)
            page = await client.query("webhook_events", principal=id_, state=state, limit=count, **before)
            rows += page
            if len(page) < count:
                break
            before = {"before": int(page[-1]["id"])}
        return rows

    return work


def _told(row: dict[str, Any]) -> dict[str, Any]:
    named = {"webhook_id": f"msg_{format_id(int(row['id']))}", "notification": format_id(int(row["notification"]))}
    stated = {name: row[name] for name in ("event", "at", "state", "attempt", "reply")}
    return {**named, **stated, "available_at": row["available_at"] if row["state"] == "waiting" else None}


def _do(settings: Settings, name: str, **parameters: Any) -> dict[str, Any]:
    try:
        return ask(settings, lambda client: client.execute(name, **parameters))
    except Refused as refused:
        raise ConfigurationError(refused.detail or refused.reason) from None


def _number(notification: str) -> str:
    try:
        return str(parse_id(notification))
    except ValueError as error:
        raise ConfigurationError(f"that is no notification: {error}") from None
