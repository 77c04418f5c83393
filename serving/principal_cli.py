"""`clarion principal`: who may send, by which key or token, and since when."""

import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from typing import Annotated, Any

import typer

from serving.authentication.subjects import subject_of
from serving.commands import AsJson, ask, readable, registrar, show
from serving.errors import ConfigurationError, Refused
from serving.queue.client import Client
from serving.settings import Settings
from serving.terms import Afterwards, Free, Price, Wait, terms

principal = typer.Typer(help="Systems that send.", no_args_is_help=True)

OVERLAP = 24.0
"""Hours for which a key is good after another took its place."""

Id = Annotated[str, typer.Argument(help="The sender's id; `clarion principal list` names them.")]


@principal.command("add")
def add_principal(
    name: str,
    domain: Annotated[list[str] | None, typer.Option(help="A From domain it speaks for; repeat for more.")] = None,
    subject: Annotated[
        str, typer.Option(help="'ISSUER SUB': it comes with tokens of that issuer and subject, and gets no API key.")
    ] = "",
    open_mail: Annotated[bool, typer.Option("--open", help="Its mail may travel unsealed.")] = False,
    life_safety: Annotated[bool, typer.Option("--life-safety", help="Its mail never waits for money.")] = False,
    relays: Annotated[
        bool, typer.Option("--relays", help="It hands on mail, which has to prove itself (SPF, DKIM, DMARC).")
    ] = False,
    payer: Annotated[str, typer.Option(help="recipient, sender or nobody pays for its urgent mail.")] = "recipient",
    price: Price = None,
    free: Free = None,
    wait: Wait = None,
    then: Afterwards = None,
) -> None:
    """Register a sending system and print its API key, this once; its id goes to standard error."""
    if payer not in ("recipient", "sender", "nobody"):
        raise ConfigurationError("--payer takes recipient, sender or nobody")
    if bool(domain) == relays:
        raise ConfigurationError("give --domain, or --relays; what comes from a relay may be of anybody")
    stated = {"open": open_mail, "life_safety": life_safety, "relays": relays, "pays": payer}
    policy = {**stated, **terms(price, free, wait, then)}
    settings, id_ = Settings.read(), secrets.token_hex(8)
    known_by = _subject(subject, settings) if subject else None

    async def work(client: Client) -> str | None:
        if known_by is None:
            return await registrar(settings, client).principal(id_, name, domain or [], policy)
        await registrar(settings, client).token_principal(id_, name, domain or [], policy, known_by)
        return None

    try:
        key = ask(settings, work)
    except Refused as refused:
        raise ConfigurationError(f"not registered: {refused.detail or refused.reason}") from None
    if key is not None:
        print(key)
    print(f"sender {id_}", file=sys.stderr)


@principal.command("list")
def list_principals(as_json: AsJson = False) -> None:
    """All senders with their keys and subjects; a key is shown by the beginning of its SHA-256."""
    rows = ask(Settings.read(), lambda client: client.query("principals"))
    if as_json:
        show([{name: row[name] for name in _TOLD} for row in rows], as_json=True)
        return
    print("\n".join(_lines(rows)) or "nobody is registered; see `clarion principal add`")


@principal.command("rotate")
def rotate_principal(
    id_: Id,
    overlap: Annotated[float, typer.Option(min=0, help="Hours for which the old key stays good.")] = OVERLAP,
    now: Annotated[bool, typer.Option("--now", help="The old key ends at once: it is in wrong hands.")] = False,
) -> None:
    """Print a new API key, this once; until when the old one is good goes to standard error."""
    settings, seconds = Settings.read(), 0.0 if now else timedelta(hours=overlap).total_seconds()

    async def work(client: Client) -> tuple[str, float]:
        return await registrar(settings, client).rotate(id_, seconds)

    try:
        key, until = ask(settings, work)
    except Refused as refused:
        raise ConfigurationError(f"not rotated: {refused.detail or refused.reason}") from None
    print(key)
    print("the old key has ended" if now else f"the old key is good until {readable(until)}", file=sys.stderr)


@principal.command("revoke")
def revoke_principal(id_: Id) -> None:
    """Take a sender's right to send, with all its keys and subjects, at once and for good."""
    try:
        ask(Settings.read(), lambda client: client.execute("revoke_principal", id=id_))
    except Refused:
        raise ConfigurationError("no sender has this id; see `clarion principal list`") from None
    print("revoked")


def _subject(stated: str, settings: Settings) -> str:
    """`<iss> <sub>` as the store has it; ConfigurationError where no token could ever match."""
    issuer, _, sub = stated.strip().partition(" ")
    subject = subject_of(issuer, sub.strip())
    if subject is None:
        raise ConfigurationError("--subject takes an issuer and a sub, as in 'https://login.example 4711'")
    if settings.oidc_issuer and issuer != settings.oidc_issuer:
        raise ConfigurationError("--subject names another issuer than CLARION_OIDC_ISSUER; write both the same way")
    return subject


_TOLD = ("id", "name", "domains", "kind", "credential", "created_at", "used_at", "expires_at", "revoked_at")


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each sender, and below it one for each key and subject; times are UTC."""
    for (id_, name), known_by in groupby(rows, key=lambda row: (row["id"], row["name"])):
        listed = list(known_by)
        revoked = listed[0]["revoked_at"]
        state = "" if revoked is None else f", revoked {readable(revoked)}"
        yield f"{id_}  {name} ({', '.join(listed[0]['domains'])}){state}"
        yield from (f"    {_line(row)}" for row in listed if row["kind"] is not None)


def _line(row: Mapping[str, Any]) -> str:
    what = f"key {row['credential'][:12]}" if row["kind"] == "key" else f"subject {row['credential']}"
    used = "never used" if row["used_at"] is None else f"last used {readable(row['used_at'])}"
    ends = "" if row["expires_at"] is None else f", ends {readable(row['expires_at'])}"
    return f"{what}: created {readable(row['created_at'])}, {used}{ends}"
