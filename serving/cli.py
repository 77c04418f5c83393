"""`clarion`: start everything, register senders and recipients, look into the queue."""

import asyncio
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from serving import certificates_cli, fetch_cli
from serving.addresses import domain_of
from serving.commands import ask
from serving.errors import ClarionError, ConfigurationError
from serving.keys_cli import add_commands
from serving.queue.client import Client
from serving.queue_cli import queue
from serving.settings import Settings
from serving.wallet_cli import ledger, wallet

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
keys = typer.Typer(
    help="The keys that seal at rest, and the certificates that recipients' mail is sealed to.", no_args_is_help=True
)
principal = typer.Typer(help="Systems that send.", no_args_is_help=True)
recipient = typer.Typer(help="People who receive.", no_args_is_help=True)
for name, group in (
    ("keys", keys),
    ("principal", principal),
    ("recipient", recipient),
    ("wallet", wallet),
    ("ledger", ledger),
    ("queue", queue),
):
    app.add_typer(group, name=name)

add_commands(keys)

Price = Annotated[int | None, typer.Option(min=0, help="Minor units for an urgent mail.")]
Free = Annotated[int | None, typer.Option(min=0, help="Urgent mails a month that cost the payer nothing.")]
Wait = Annotated[float | None, typer.Option(min=0, help="Hours that urgent mail waits for money.")]
Afterwards = Annotated[str | None, typer.Option(help="expire, deliver or digest what nobody paid for in time.")]


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


keys.command("add")(certificates_cli.add)
keys.command("show")(certificates_cli.show_certificates)
keys.command("remove")(certificates_cli.remove)
keys.command("fetch")(fetch_cli.fetch)
keys.command("expiring")(fetch_cli.expiring)


@principal.command("add")
def add_principal(
    name: str,
    domain: Annotated[list[str], typer.Option(help="A From domain it speaks for; repeat for more.")],
    open_mail: Annotated[bool, typer.Option("--open", help="Its mail may travel unsealed.")] = False,
    life_safety: Annotated[bool, typer.Option("--life-safety", help="Its mail never waits for money.")] = False,
    payer: Annotated[str, typer.Option(help="recipient, sender or nobody pays for its urgent mail.")] = "recipient",
    price: Price = None,
    free: Free = None,
    wait: Wait = None,
    then: Afterwards = None,
) -> None:
    """Register a sending system and print its API key, this once; its id goes to standard error."""
    if payer not in ("recipient", "sender", "nobody"):
        raise ConfigurationError("--payer takes recipient, sender or nobody")
    policy = {"open": open_mail, "life_safety": life_safety, "pays": payer, **_terms(price, free, wait, then)}
    settings, id_ = Settings.read(), secrets.token_hex(8)

    async def work(client: Client) -> str:
        key: str = await _registrar(settings, client).principal(id_, name, domain, policy)
        return key

    print(ask(settings, work))
    print(f"sender {id_}", file=sys.stderr)


@recipient.command("add")
def add_recipient(
    address: str,
    certificate: Annotated[
        list[Path] | None, typer.Option(help="An OpenPGP or X.509 certificate to seal to; repeat for more.")
    ] = None,
    sealing: Annotated[
        str | None, typer.Option(help="openpgp or smime, where there are certificates for both.")
    ] = None,
    not_urgent: Annotated[str, typer.Option(help="digest, delay or discard what is not urgent.")] = "digest",
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
    if not_urgent not in ("digest", "delay", "discard"):
        raise ConfigurationError("--not-urgent takes digest, delay or discard")
    if sealing not in (None, "openpgp", "smime"):
        raise ConfigurationError("--sealing takes openpgp or smime")
    text = _certificates(certificate, address) if certificate else None
    policy = {"open": open_mail, "pays": pays, "card": card, "sealing": sealing, **_terms(price, free, wait, then)}

    async def work(client: Client) -> None:
        await _registrar(settings, client).recipient(address, text, {"not_urgent": not_urgent}, policy)

    ask(settings, work)
    can_receive = text is not None or open_mail
    print("registered" if can_receive else "registered; mail is held until it has a --certificate or --open")


@recipient.command("reset-offset")
def reset_offset(address: str) -> None:
    """Forget what a recipient's reactions did to the threshold above which mail is urgent."""
    from serving.sealing import load_lookup

    settings = Settings.read()
    lookup = load_lookup(settings.keys).address(address).hex()
    answer = ask(settings, lambda client: client.execute("reset_offset", recipient=lookup))
    print("forgotten" if answer["forgotten"] else "there was nothing to forget")


def _terms(price: int | None, free: int | None, wait: float | None, then: str | None) -> dict[str, Any]:
    """What the policy says of money, where anything was stated."""
    if then not in (None, "expire", "deliver", "digest"):
        raise ConfigurationError("--then takes expire, deliver or digest")
    stated = {"price": price, "free": free, "wait": None if wait is None else wait * 3_600.0, "then": then}
    return {name: value for name, value in stated.items() if value is not None}


def _registrar(settings: Settings, client: Client) -> Any:
    from serving.enrolment import Registrar
    from serving.keyring import load_sealing
    from serving.sealing import load_lookup

    return Registrar(client, load_sealing(settings.keys, "content"), load_lookup(settings.keys))


def _certificates(paths: Sequence[Path], address: str) -> str:
    from serving.encryption.bundle import bundle

    return bundle([block for path in paths for block in certificates_cli.read_file(path, address)])


def main() -> None:
    """The command; exit status 2 with one line where it cannot do what was asked."""
    try:
        app()
    except ClarionError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
