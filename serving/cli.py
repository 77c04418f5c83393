"""`clarion`: start everything, register senders and recipients, look into the queue."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from serving import certificates_cli, core_dumps, escalation_cli, fetch_cli, wishes_cli
from serving.addresses import domain_of
from serving.commands import ask, registrar
from serving.errors import ClarionError, ConfigurationError
from serving.keys_cli import add_commands
from serving.principal_cli import principal
from serving.queue.client import Client
from serving.queue_cli import queue
from serving.reactions_cli import reactions
from serving.schedule_cli import schedule
from serving.settings import Settings
from serving.suppression_cli import suppression
from serving.terms import Afterwards, Free, Price, Wait, terms
from serving.wallet_cli import ledger, wallet
from serving.webhook_cli import webhook

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
keys = typer.Typer(
    help="The keys that seal at rest, and the certificates that recipients' mail is sealed to.", no_args_is_help=True
)
recipient = typer.Typer(help="People who receive.", no_args_is_help=True)
for name, group in (
    ("keys", keys),
    ("principal", principal),
    ("recipient", recipient),
    ("wallet", wallet),
    ("ledger", ledger),
    ("queue", queue),
    ("webhook", webhook),
    ("suppression", suppression),
    ("reactions", reactions),
):
    app.add_typer(group, name=name)

add_commands(keys)
app.command()(schedule)


@app.command()
def serve() -> None:
    """Start everything and stay up; Ctrl-C ends all of it."""
    from serving.running import run

    asyncio.run(run(Settings.read()))


@keys.command("create")
def create_keys() -> None:
    """Make the keys; existing ones are never overwritten."""
    from serving.startup import make_keys

    settings = Settings.read()
    make_keys(settings)
    print(f"keys in {settings.keys}; keep a copy elsewhere: without them nothing that is stored can be read")


@keys.command("dkim")
def dkim_key() -> None:
    """Print the DNS record that publishes the DKIM key of our own mail; the key is made the first time."""
    from serving.delivery.signing import create_dkim_key, load_dkim_key

    settings = Settings.read()
    asked = (settings.keys, settings.mail_from, settings.dkim_selector)
    key = load_dkim_key(*asked)
    if key is None:
        key = create_dkim_key(*asked)
        print("a new key; restart Clarion when the record can be seen, and its mail is signed", file=sys.stderr)
    name, text = key.record()
    strings = " ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))
    print(f"{name}. IN TXT {strings}")


keys.command("add")(certificates_cli.add)
keys.command("show")(certificates_cli.show_certificates)
keys.command("remove")(certificates_cli.remove)
keys.command("fetch")(fetch_cli.fetch)
keys.command("expiring")(fetch_cli.expiring)


@recipient.command("add")
def add_recipient(
    address: str,
    certificate: Annotated[
        list[Path] | None, typer.Option(help="An OpenPGP or X.509 certificate to seal to; repeat for more.")
    ] = None,
    sealing: Annotated[
        str | None, typer.Option(help="openpgp or smime, where there are certificates for both.")
    ] = None,
    not_urgent: Annotated[
        str | None, typer.Option(help="digest, delay, deliver or discard what is not urgent; see `wishes`.")
    ] = None,
    open_mail: Annotated[bool, typer.Option("--open", help="Mail may arrive unsealed.")] = False,
    pays: Annotated[bool, typer.Option(help="Urgent mail costs.")] = True,
    price: Price = None,
    free: Free = None,
    wait: Wait = None,
    then: Afterwards = None,
    card: Annotated[bool, typer.Option("--card", help="Hold a saved card where the wallet is empty.")] = False,
) -> None:
    """Register a recipient, or change what is known of one."""
    settings = Settings.read()
    if domain_of(address) is None:
        raise ConfigurationError("that is no address; write it as name@example.org")
    if not_urgent not in (None, "digest", "delay", "deliver", "discard"):
        raise ConfigurationError("--not-urgent takes digest, delay, deliver or discard")
    if sealing not in (None, "openpgp", "smime"):
        raise ConfigurationError("--sealing takes openpgp or smime")
    text = _certificates(certificate, address) if certificate else None
    policy = {"open": open_mail, "pays": pays, "card": card, "sealing": sealing, **terms(price, free, wait, then)}

    async def work(client: Client) -> None:
        people = registrar(settings, client)
        wishes = await people.wishes(address)  # whoever registers somebody anew changes no other wish
        await people.recipient(address, text, {**wishes, **({"not_urgent": not_urgent} if not_urgent else {})}, policy)

    ask(settings, work)
    can_receive = text is not None or open_mail
    print("registered" if can_receive else "registered; mail is held until it has a --certificate or --open")


recipient.command("wishes")(wishes_cli.wishes)
recipient.command("escalate")(escalation_cli.escalate)


@recipient.command("reset-offset")
def reset_offset(address: str) -> None:
    """Forget what a recipient's reactions did to the threshold above which mail is urgent."""
    from serving.sealing import load_lookup

    settings = Settings.read()
    lookup = load_lookup(settings.keys).address(address).hex()
    answer = ask(settings, lambda client: client.execute("reset_offset", recipient=lookup))
    print("forgotten" if answer["forgotten"] else "there was nothing to forget")


def _certificates(paths: Sequence[Path], address: str) -> str:
    from serving.encryption.bundle import bundle

    return bundle([block for path in paths for block in certificates_cli.read_file(path, address)])


def main() -> None:
    """The command; exit status 2 with one line where it cannot do what was asked."""
    core_dumps.forbid()
    try:
        app()
    except ClarionError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
