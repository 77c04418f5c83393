"""`clarion recipient wishes`: what a recipient wants done with mail, shown and changed.

The lists lie sealed in the store; so this command runs where the content key is.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from serving.commands import AsJson, ask, registered, show
from serving.errors import ConfigurationError, Unsealable
from serving.keyring import load_unsealing
from serving.queue.client import Client
from serving.sealing import UnsealingKey, load_lookup
from serving.settings import Settings
from serving.wishes.lists import MOST_ENTRIES, NAMES, Lists, entry_of
from serving.wishes.wish import (
    LONGEST_INTERVAL,
    SHORTEST_INTERVAL,
    read_day,
    read_ending,
    read_hours,
    read_seconds,
    read_times,
    read_urgent,
    read_zone,
)

TRIES = 5
HOUR = 3_600.0
DIGESTS: Mapping[str, Mapping[str, Any]] = {
    "hourly": {"digest_every": HOUR, "digest_at": None, "digest_on": None},
    "daily": {"digest_every": None, "digest_at": ["08:00"], "digest_on": None},
    "weekly": {"digest_every": None, "digest_on": "monday"},
}
NOTHING = "none"

_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "not_urgent": read_ending,
    "digest_every": lambda value: _within(read_seconds(value), value),
    "digest_at": read_times,
    "digest_on": read_day,
    "delay": lambda value: _within(read_seconds(value), value),
    "zone": read_zone,
    "quiet": read_hours,
    "urgent": read_urgent,
}

Entries = Annotated[list[str] | None, typer.Option(help="An address, a domain, or words; repeat for more.")]


def wishes(
    address: Annotated[str, typer.Argument(help="A registered recipient's address.")],
    not_urgent: Annotated[str | None, typer.Option(help="digest, delay, deliver, or discard where certified.")] = None,
    digest: Annotated[str | None, typer.Option(help="hourly, daily or weekly.")] = None,
    digest_at: Annotated[list[str] | None, typer.Option(help="A time of day, as 07:30; repeat for more.")] = None,
    digest_on: Annotated[str | None, typer.Option(help="A day of the week, as monday; none for every day.")] = None,
    delay: Annotated[float | None, typer.Option(help="Hours for which mail is delayed.")] = None,
    zone: Annotated[str | None, typer.Option(help="Of all times of day, as Europe/Berlin.")] = None,
    quiet: Annotated[str | None, typer.Option(help="Quiet hours, as 22:00-07:00, or none.")] = None,
    urgent: Annotated[str | None, typer.Option(help="overrides quiet hours, or waits.")] = None,
    always: Entries = None,
    never: Entries = None,
    remove: Annotated[list[str] | None, typer.Option(help="An entry to take off the lists; repeat for more.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a recipient wishes; with options, change that and leave the rest as it is."""
    settings = Settings.read()
    stated: dict[str, Any] = {
        **_digests(digest),
        **({"digest_at": digest_at, "digest_every": None} if digest_at else {}),
        **_given("digest_on", digest_on, digest_on),
        **_given("not_urgent", not_urgent, not_urgent),
        **_given("delay", delay, None if delay is None else delay * HOUR),
        **_given("zone", zone, zone),
        **_given("quiet", quiet, quiet and quiet.split("-")),
        **_given("urgent", urgent, urgent),
    }
    _check(stated)
    added = {"always": _entries(always), "never": _entries(never)}
    removed = _entries(remove)
    content, lookup = load_unsealing(settings.keys, "content"), load_lookup(settings.keys).address(address).hex()

    def change(held: Mapping[str, Any]) -> dict[str, Any]:
        changed = {name: value for name, value in {**held, **stated}.items() if value is not None}
        lists = _changed(_opened(held, content), added, removed)
        return changed if lists is None else {**changed, "lists": content.sealing_key.seal(lists.written()).hex()}

    is_change = bool(stated or removed or any(added.values()))
    kept = ask(settings, lambda client: _keep(client, lookup, change if is_change else None))
    _tell(kept, _opened(kept, content), as_json=as_json)


async def _keep(
    client: Client, lookup: str, change: Callable[[Mapping[str, Any]], dict[str, Any]] | None
) -> dict[str, Any]:
    """The wishes as they are now; a change is made again where another one came between."""
    for _ in range(TRIES):
        held: dict[str, Any] = (await registered(client, lookup))["wishes"]
        if change is None:
            return held
        fresh = change(held)
        if (await client.execute("change_wishes", lookup=lookup, wishes=fresh, held=held))["changed"]:
            return fresh
    raise ConfigurationError("somebody else changes these wishes at the same time; try again")


def _digests(often: str | None) -> Mapping[str, Any]:
    if often is not None and often not in DIGESTS:
        raise ConfigurationError("--digest takes hourly, daily or weekly")
    return {} if often is None else DIGESTS[often]


def _given(name: str, option: object, value: Any) -> dict[str, Any]:
    """The wish where its option was given; nothing in its place where that was `none`."""
    return {} if option is None else {name: None if option == NOTHING else value}


def _check(stated: Mapping[str, Any]) -> None:
    for name, value in stated.items():
        if value is not None:
            try:
                _CHECKS[name](value)
            except ValueError as error:
                raise ConfigurationError(f"--{name.replace('_', '-')}: {error}") from None


def _within(read: float, value: float) -> float:
    if not SHORTEST_INTERVAL <= value <= LONGEST_INTERVAL:
        raise ValueError("a duration lasts from a minute to 30 days")
    return read


def _entries(written: Sequence[str] | None) -> list[str]:
    try:
        return [entry_of(each) for each in written or ()]
    except ValueError as error:
        raise ConfigurationError(f"{error}; write `words:` before what is to be taken for words") from None


def _opened(held: Mapping[str, Any], content: UnsealingKey) -> Lists:
    if "lists" not in held:
        return Lists()
    try:
        return Lists.read(content.unseal(bytes.fromhex(held["lists"])))
    except (Unsealable, ValueError, TypeError):
        raise ConfigurationError("the lists cannot be opened: the key that they are sealed under is not here") from None


def _changed(lists: Lists, added: Mapping[str, Sequence[str]], removed: Sequence[str]) -> Lists | None:
    """The lists with what is added, without what is removed; None where nothing is stated or on a list."""
    absent = [each for each in removed if each not in (*lists.always, *lists.never)]
    if absent:
        raise ConfigurationError("--remove names what is on no list; see `clarion recipient wishes ADDRESS`")
    both = (
        tuple(each for each in dict.fromkeys((*getattr(lists, name), *added[name])) if each not in removed)
        for name in NAMES
    )
    changed = Lists(*both)
    if max(len(changed.always), len(changed.never)) > MOST_ENTRIES:
        raise ConfigurationError(f"a list has at most {MOST_ENTRIES} entries")
    return None if changed == lists else changed


def _tell(kept: Mapping[str, Any], lists: Lists, *, as_json: bool) -> None:
    shown = {name: value for name, value in kept.items() if name != "lists"}
    if as_json:
        print(json.dumps({**shown, "always": lists.always, "never": lists.never}, indent=2))
        return
    rows = [{"wish": name, "is": _words(value)} for name, value in shown.items()]
    for name in NAMES:
        rows += [{"wish": f"{name} {number}", "is": entry} for number, entry in enumerate(getattr(lists, name), 1)]
    if rows:
        show(rows, as_json=False)
    else:
        print("nothing is wished: what is not urgent waits for the digest")


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
