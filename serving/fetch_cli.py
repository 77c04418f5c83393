"""`clarion keys fetch` and `expiring`: certificates from where their owners publish them, and when they end."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.certificates_cli import changed, fingerprint_of
from serving.commands import AsJson, ask, show
from serving.errors import ConfigurationError, Unsealable
from serving.keyring import load_unsealing
from serving.settings import Settings

if TYPE_CHECKING:
    from pysequoia import Cert

    from serving.encryption.bundle import Block
    from serving.encryption.wkd import KeyDirectory
    from serving.expiring import Lapsing


def fetch(
    address: Annotated[str, typer.Argument(help="Whose OpenPGP certificate its domain is asked for.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it and register nothing.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Drop OpenPGP certificates that were brought.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch what a recipient's domain publishes (Web Key Directory) and register it; mail that waits for it goes on."""
    from serving.encryption.certificates import Unusable
    from serving.encryption.expiry import usable_until
    from serving.encryption.sources import Source, found

    now = datetime.now(UTC)
    fetched = asyncio.run(key_directory().find(address, now))
    if isinstance(fetched, Unusable):
        raise ConfigurationError(fetched.reason)
    if not dry_run:
        _register(address, fetched, now, replace=replace)
    fingerprint = fingerprint_of(found(fetched, Source.WKD, now))
    row = {"fingerprint": fingerprint, "source": Source.WKD.value, "until": _seconds(usable_until(fetched))}
    show([{**row, "registered": not dry_run}], as_json=as_json)


def expiring(
    within: Annotated[int, typer.Option(min=0, max=3_650, help="Days ahead.")] = 30, as_json: AsJson = False
) -> None:
    """Whose certificates end soon or cannot be used, so that mail to them will be held; needs the content key."""
    from serving.expiring import lapsing

    settings, now = Settings.read(), datetime.now(UTC)
    content = load_unsealing(settings.keys, "content")
    found = ask(settings, lambda client: lapsing(client, content, now, timedelta(days=within)))
    show([_row(each) for each in found], as_json=as_json)


def key_directory() -> "KeyDirectory":
    """Whom `fetch` asks."""
    from serving.encryption.wkd import KeyDirectory

    return KeyDirectory()


def _register(address: str, fetched: "Cert", now: datetime, *, replace: bool) -> None:
    from serving.encryption.certificates import Unusable
    from serving.encryption.sources import with_fetched

    def change(held: "list[Block]") -> "Sequence[Block]":
        kept = with_fetched(held, fetched, address, now, replace=replace)
        if isinstance(kept, Unusable):
            raise ConfigurationError(kept.reason)
        return kept

    changed(address, change)


def _row(found: "Lapsing | Unsealable") -> dict[str, Any]:
    from serving.encryption.sources import origin_of

    if isinstance(found, Unsealable):
        return dict.fromkeys(("recipient", "method", "fingerprint", "source", "until")) | {"state": str(found)}
    return {
        "recipient": found.recipient,
        "method": found.block.method,
        "fingerprint": fingerprint_of(found.block),
        "source": origin_of(found.block).source.value,
        "until": _seconds(found.until),
        "state": found.reason or "ends",
    }


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
