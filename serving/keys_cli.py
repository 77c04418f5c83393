"""`clarion keys`: rotate the sealing keys, re-seal what lies under old ones, and let go of those that nothing needs."""

import json
import sys
import time
from collections import Counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from serving import resealing, rotation
from serving.commands import ask, readable, show
from serving.errors import BrokerUnavailable, ConfigurationError
from serving.keyring import load_unsealing
from serving.queue.client import Client
from serving.resealing import Progress, Report, Resealing
from serving.rotation import KeptKey
from serving.sealing import PURPOSES, Purpose
from serving.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


def add_commands(keys: typer.Typer) -> None:
    """Let `clarion keys` know them."""
    for name, command in (("list", list_keys), ("rotate", rotate), ("reseal", reseal), ("retire", retire)):
        keys.command(name)(command)


def list_keys(as_json: AsJson = False) -> None:
    """The sealing keys, since when each is there, and how many blobs of the store lie under it."""
    settings = Settings.read()
    counts: Counter[tuple[Purpose, str]] | None
    try:
        counts = ask(settings, resealing.blobs_by_key)
    except BrokerUnavailable as error:
        counts = None
        print(f"{error}; what lies under each key is not known", file=sys.stderr)
    show(_listed(_kept(settings), counts), as_json=as_json)


def rotate(
    purpose: Annotated[str | None, typer.Argument(help="content or delivery; leave it out for both.")] = None,
) -> None:
    """Let new keys seal from now on. Running processes take them up by themselves; the old ones are kept."""
    settings = Settings.read()
    for each in (_purpose(purpose),) if purpose else PURPOSES:
        done = rotation.rotate(settings.keys, each)
        print(f"{each}: {done.new.hex()} seals from now on, {done.old.hex()} is kept and opens what lies under it")
    print("next: copy the folder of keys, `clarion keys reseal`, `clarion keys retire`")


def reseal(as_json: AsJson = False) -> None:
    """Seal everything that lies under old keys again, while mail goes on; it may be interrupted and run again."""
    settings = Settings.read()
    keys = {purpose: load_unsealing(settings.keys, purpose) for purpose in PURPOSES}
    with _bar(shown=not as_json) as bar:
        task = bar.add_task("re-sealed", total=None)

        def told(progress: Progress) -> None:
            bar.update(task, completed=progress.done, total=progress.total)
            if as_json:
                print(json.dumps({"done": progress.done, "of": progress.total, "seconds_left": progress.seconds_left}))
                sys.stdout.flush()

        async def work(client: Client) -> Report:
            return await Resealing(client, keys, told).run()

        report = ask(settings, work)
    _tell(report, _kept(settings), as_json=as_json)
    if report.unopened:
        raise ConfigurationError(
            f"{report.unopened} blobs did not open; restore the key files that `clarion keys list` calls missing"
        )


def retire(key_id: Annotated[str, typer.Argument(help="Of an old key, as `clarion keys list` shows it.")]) -> None:
    """Delete an old private key for ever. Refused while anything in the store lies under it."""
    settings = Settings.read()
    wanted = [key for key in _kept(settings) if key.id.hex() == key_id.lower()]
    if not wanted:
        raise ConfigurationError(f"no key {key_id} in {settings.keys}; see `clarion keys list`")
    for key in wanted:
        count = ask(settings, resealing.blobs_by_key)[key.purpose, key.id.hex()]
        if count and not key.is_newest:
            raise ConfigurationError(f"{count} blobs lie under {key_id}; run `clarion keys reseal` first")
        rotation.retire(settings.keys, key.purpose, key.id, time.time())
        print(f"{key.id.hex()} is gone; backups of the store from before need it, if you keep any")


def _kept(settings: Settings) -> list[KeptKey]:
    return [key for purpose in PURPOSES for key in rotation.kept_keys(settings.keys, purpose)]


def _listed(kept: list[KeptKey], counts: Counter[tuple[Purpose, str]] | None) -> list[dict[str, Any]]:
    """The keys of the folder, then those that the store needs and the folder lacks."""
    rows = []
    for key in kept:
        blobs = None if counts is None else counts.pop((key.purpose, key.id.hex()), 0)
        state = "seals" if key.is_newest else "kept"
        rows.append(_row(key.purpose, key.id.hex(), state, readable(key.since), blobs))
    return rows + [_row(purpose, id_, "missing", None, blobs) for (purpose, id_), blobs in (counts or {}).items()]


def _row(purpose: Purpose, key_id: str, state: str, since: str | None, blobs: int | None) -> dict[str, Any]:
    return {"purpose": purpose, "id": key_id, "state": state, "since": since, "blobs": blobs}


def _tell(report: Report, kept: list[KeptKey], *, as_json: bool) -> None:
    """The old keys, and those that the folder lacks, each with what is left under it."""
    old = {(key.purpose, key.id.hex()): 0 for key in kept if not key.is_newest} | dict(report.left)
    left = [{"purpose": purpose, "id": id_, "left": count} for (purpose, id_), count in old.items()]
    if as_json:
        print(json.dumps({"replaced": report.replaced, "unopened": report.unopened, "left": left}))
        return
    print(f"{report.replaced} blobs re-sealed")
    for row in left:
        what = f"{row['left']} left" if row["left"] else f"nothing left; `clarion keys retire {row['id']}` deletes it"
        print(f"{row['purpose']} {row['id']}: {what}")


def _bar(*, shown: bool) -> Bar:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Bar(*columns, console=Console(stderr=True), disable=not shown)


def _purpose(text: str) -> Purpose:
    for purpose in PURPOSES:
        if text == purpose:
            return purpose
    raise ConfigurationError("keys are for content or for delivery")
