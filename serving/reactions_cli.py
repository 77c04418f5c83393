"""`clarion reactions watch`: a program that stays up, under whatever supervises programs on that machine, and hears
what a recipient does with our mails in an IMAP mailbox (see `serving.reactions.said`).

It holds the lookup key and none that opens mail, and writes nothing to the mailbox.
"""

import asyncio
import contextlib
import ipaddress
import logging
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom
from typing import Annotated, Any

import typer

from serving.addresses import domain_of
from serving.commands import ask
from serving.errors import ConfigurationError
from serving.queue.client import Client
from serving.reactions.hearing import Hearing
from serving.reactions.mailbox import Account, Mailbox
from serving.reactions.watch import Folders, Watch
from serving.sealing import load_lookup
from serving.settings import Settings
from serving.stopping import cancel_on_signals

reactions = typer.Typer(help="What recipients do with their mail.", no_args_is_help=True)


@reactions.callback()
def _group() -> None:
    """What recipients do with their mail."""


@reactions.command("watch")
def watch(
    addresses: Annotated[list[str], typer.Argument(help="The recipient's address, and others of the same mailbox.")],
    host: Annotated[str, typer.Option(help="The IMAP server.")],
    user: Annotated[str, typer.Option(help="Who logs in.")],
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="By default 993, or 143 with --plain.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Holds the password in its first line; else CLARION_IMAP_PASSWORD does.")
    ] = None,
    folder: Annotated[list[str] | None, typer.Option(help="As the server writes it; repeat for more.")] = None,
    junk: Annotated[str | None, typer.Option(help="The folder for junk, where the server does not say which.")] = None,
    finds_junk: Annotated[bool, typer.Option("--find-junk/--no-junk", help="Whether there is one.")] = True,
    every: Annotated[
        float, typer.Option(min=1, max=1_700, help="Seconds after which to look again, whatever the server tells.")
    ] = 120.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end; for cron.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Without TLS; to this machine alone.")] = False,
    ca_file: Annotated[Path | None, typer.Option(help="PEM, trusted besides what this machine trusts.")] = None,
) -> None:
    """Hear what its owner does with our mails in an IMAP mailbox, until Ctrl-C."""
    settings = Settings.read()
    lookups = _registered(settings, addresses)
    if plain and not _is_here(host):
        raise ConfigurationError("--plain would show the password to the network; it is for 127.0.0.1, ::1, localhost")
    tls = None if plain else _trusting(ca_file)
    account = Account(host, port or (143 if plain else 993), user, _password(settings, password_file), tls)
    folders = Folders(_folders(folder or ["INBOX"]), *_junk(junk, finds_junk))
    _keep_logs_clean()
    asyncio.run(_run(settings, account, lookups, folders, None if once else every))


async def _run(
    settings: Settings, account: Account, lookups: Sequence[str], folders: Folders, every: float | None
) -> None:
    asyncio.get_running_loop().set_exception_handler(_tell)
    client = Client(settings.socket)
    eye = Watch(folders, Hearing(client, lookups, time.time), time.time)
    try:
        if every is None:
            mailbox = await Mailbox.open(account)
            print(f"{await eye.look(mailbox)} new")
            await mailbox.close()
            return
        cancel_on_signals()
        print(f"watching a mailbox at {account.host}:{account.port}", flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await eye.keep_looking(lambda: Mailbox.open(account), every, SystemRandom(), asyncio.Event())
    finally:
        await client.close()


def _registered(settings: Settings, addresses: Sequence[str]) -> list[str]:
    """The lookups of all of them; one at least is a recipient here."""
    if not all(map(domain_of, addresses)):
        raise ConfigurationError("that is no address; write it as name@example.org")
    lookup = load_lookup(settings.keys)
    lookups = [lookup.address(each).hex() for each in addresses]

    async def work(client: Client) -> bool:
        return any([await client.query("recipient", lookup=each) for each in lookups])

    if not ask(settings, work):
        raise ConfigurationError("nobody is registered under that address; see `clarion recipient add`")
    return lookups


def _password(settings: Settings, path: Path | None) -> str:
    if path is None:
        password = settings.imap_password.get_secret_value()
    else:
        try:
            password = path.read_text("utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeError):
            raise ConfigurationError("the file of --password-file cannot be read") from None
    if not password:
        raise ConfigurationError("no password; set CLARION_IMAP_PASSWORD or --password-file")
    return password


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError:  # ssl.SSLError is one
            raise ConfigurationError("the file of --ca-file holds no certificate") from None
    return context


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _folders(names: Sequence[str]) -> tuple[str, ...]:
    if not all(name.isascii() and name.isprintable() and name for name in names):
        raise ConfigurationError("write a folder's name as the server does, in modified UTF-7 (RFC 3501 section 5.1.3)")
    return tuple(dict.fromkeys(names))


def _junk(name: str | None, finds: bool) -> tuple[str | None, bool]:
    if name is not None and not finds:
        raise ConfigurationError("--junk or --no-junk, not both")
    return (None if name is None else _folders([name])[0]), finds and name is None


def _keep_logs_clean() -> None:
    """aioimaplib would log what the server says of folders and mails."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("aioimaplib").setLevel(logging.CRITICAL)


def _tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What breaks inside a library, by its kind alone: its words may be the mail server's."""
    logging.getLogger(__name__).warning("a connection broke (%s)", type(context.get("exception")).__name__)
    sys.stderr.flush()
