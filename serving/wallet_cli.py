"""`clarion wallet` and `clarion ledger`: money in and out by hand, who paid for what, whether the books are right."""

import csv
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, assert_never

import typer

from serving import money
from serving.commands import AsJson, ask, readable, registered, show
from serving.errors import ConfigurationError, Refused
from serving.payment.exchange import Ledger
from serving.payment.provider import Answer, Declined, Done, NeedsPayer, Provider, TryLater, Unknown
from serving.queue.client import Client
from serving.settings import Settings
from serving.web.amounts import minor_units
from serving.web.amounts import money as in_words

wallet = typer.Typer(help="The money of recipients and senders.", no_args_is_help=True)
ledger = typer.Typer(help="The books.", no_args_is_help=True)

Owner = Annotated[str, typer.Argument(help="A recipient's address, or a sender's id with --sender.")]
IsSender = Annotated[bool, typer.Option("--sender", help="The owner is a sender.")]
Amount = Annotated[float, typer.Argument(min=0.01, max=1_000_000.0, help="In the currency's major unit.")]
Key = Annotated[str, typer.Option(help="Of an earlier attempt whose answer is not known.")]


@wallet.command("top-up")
def top_up_wallet(owner: Owner, amount: Amount, sender: IsSender = False, key: Key = "") -> None:
    """Charge the owner at the payment provider, and credit the wallet, once for each key."""
    from serving.payment.topup import top_up

    settings, named = Settings.read(), key or f"cli:{secrets.token_hex(8)}"
    minor, currency = minor_units(amount, settings.currency), settings.currency

    async def pay(books: Ledger, provider: Provider, account: str) -> Answer:
        return await top_up(books, provider, wallet=account, amount=minor, currency=currency, key=named)

    _insist(_at_provider(settings, owner, sender, pay), named)
    print(f"credited {in_words(minor, currency)}")


@wallet.command("charges")
def charges(owner: Owner, sender: IsSender = False, as_json: AsJson = False) -> None:
    """What was paid in by way of a provider, the last first: what a refund can be made of; amounts are minor units."""
    settings = Settings.read()

    async def work(client: Client) -> list[dict[str, Any]]:
        found = await client.query("charges", wallet=await _account(settings, client, owner, sender))
        kept = ("amount", "currency")
        return [
            {"key": each["key"], "at": each["closed_at"], **{n: each["payload"][n] for n in kept}} for each in found
        ]

    show(ask(settings, work), as_json=as_json)


@wallet.command("refund")
def refund_wallet(
    owner: Owner,
    amount: Amount,
    sender: IsSender = False,
    of: Annotated[str, typer.Option(help="The key of a charge; left out: the last one that is large enough.")] = "",
    key: Key = "",
) -> None:
    """Give money back to where it came from, out of one earlier charge, once for each key."""
    from serving.payment.refund import refund

    settings, named = Settings.read(), key or f"refund:{secrets.token_hex(8)}"
    minor = minor_units(amount, settings.currency)

    async def give_back(books: Ledger, provider: Provider, account: str) -> Answer:
        charges = await books.query("charges", wallet=account)
        meant = [each for each in charges if not of or each["key"] == of]
        fitting = next((each for each in meant if each["payload"]["amount"] >= minor), None)
        if fitting is None and of and not meant:
            raise ConfigurationError("there is no such charge; `clarion wallet charges` has those there are")
        if fitting is None:
            raise ConfigurationError("no single charge was as large; give back less, several times")
        reference = str(fitting["outcome"]["reference"])
        return await refund(
            books, provider, wallet=account, amount=minor, currency=settings.currency, key=named, reference=reference
        )

    _insist(_at_provider(settings, owner, sender, give_back), named)
    print(f"given back {in_words(minor, settings.currency)}")


@wallet.command("statement")
def statement(
    owner: Owner,
    sender: IsSender = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="For a spreadsheet: all of it.")] = False,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many lines at most, but for --csv.")] = 20,
    link: Annotated[bool, typer.Option(help="A link to it instead, for its owner, good for 30 days.")] = False,
) -> None:
    """What went in and out and for which notification, the last first; amounts are minor units."""
    from serving.payment.statement import line_of, movements

    settings = Settings.read()

    async def work(client: Client) -> list[dict[str, Any]]:
        account = await _account(settings, client, owner, sender)
        rows = await movements(client, account, limit=None if as_csv else limit)
        return [asdict(line_of(row)) for row in rows]

    if link:
        print(ask(settings, lambda client: _link(settings, client, owner, sender)))
        return
    rows = ask(settings, work)
    if not as_csv:
        show(rows, as_json=as_json)
        return
    writer = csv.DictWriter(sys.stdout, ["at", "what", "amount", "currency", "notification"])
    writer.writeheader()
    writer.writerows({**row, "at": readable(row["at"])} for row in rows)


@ledger.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Derive every hash and balance again from the beginning; exit status 1 names the first row that is wrong."""
    (verdict,) = ask(Settings.read(), lambda client: client.query("verify_ledger"))
    show([verdict], as_json=as_json)
    if not verdict["intact"]:
        raise typer.Exit(1)


def _at_provider(
    settings: Settings, owner: str, sender: bool, work: Callable[[Ledger, Provider, str], Awaitable[Answer]]
) -> Answer:
    from serving.payment.providers import connect

    async def run(client: Client) -> Answer:
        account = await _account(settings, client, owner, sender)
        provider = connect(settings)
        try:
            return await work(client, provider, account)
        except Refused as refused:
            raise ConfigurationError(f"nothing moved: {refused.detail}") from None
        finally:
            await provider.close()

    return ask(settings, run)


async def _account(settings: Settings, client: Client, owner: str, sender: bool) -> str:
    """The owner's wallet; ConfigurationError for one whom nobody registered."""
    from serving.sealing import load_lookup

    if sender:
        if not await client.query("principal", id=owner):
            raise ConfigurationError("no such sender; `clarion principal add` prints its id")
        return money.wallet_of_sender(owner)
    lookup = load_lookup(settings.keys).address(owner)
    await registered(client, lookup.hex())
    return money.wallet_of(lookup)


async def _link(settings: Settings, client: Client, owner: str, sender: bool) -> str:
    from serving.sealing import load_lookup
    from serving.web.token import Links

    token = Links(load_lookup(settings.keys).derive("pay")).statement.make(
        await _account(settings, client, owner, sender), time.time()
    )
    return f"{settings.pay_url}/statement/{token}"


def _insist(answer: Answer, key: str) -> None:
    match answer:
        case Done():
            return
        case NeedsPayer(url):
            raise ConfigurationError(f"the payer has to agree first: {url}")
        case Declined(reason):
            raise ConfigurationError(f"the provider declined ({reason}); nothing moved")
        case TryLater() | Unknown():
            raise ConfigurationError(
                f"the provider has not answered for certain; it is found out by itself, or now with --key {key}. "
                "Without that key it would be another payment"
            )
        case _:
            assert_never(answer)
