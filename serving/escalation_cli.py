"""`clarion recipient escalate`: whom and what a recipient's urgent mail goes to next while nobody acknowledges it.

A chain lies sealed in the store; so this command runs where the content key is. It never prints what a URL holds.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from serving.addresses import canonical_address, domain_of
from serving.commands import AsJson, ask, duration, registered, show
from serving.errors import ConfigurationError
from serving.escalation.chain import (
    LONGEST,
    MOST_ROUNDS,
    MOST_STEPS,
    SHORTEST,
    Chain,
    Person,
    Push,
    Step,
    read_chain,
    write_chain,
)
from serving.keyring import load_unsealing
from serving.queue.client import Client
from serving.sealing import LookupKey, load_lookup
from serving.settings import Settings

_DURATION = re.compile(r"(\d{1,7})(s|m|h|d)?")
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def escalate(
    address: Annotated[str, typer.Argument(help="A registered recipient's address.")],
    to: Annotated[
        list[str] | None,
        typer.Option(help="mail:ADDRESS of a registered recipient, or apprise:URL; repeat for further steps."),
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option(help="How long to wait before: 90s, 10m, 2h. Once for all steps, or once each.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=MOST_ROUNDS, help="How often the steps are gone through.")] = 1,
    clear: Annotated[
        bool, typer.Option("--clear", help="Take the chain away; what waits for it is not escalated.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say to whom urgent mail goes while nobody acknowledges it; without --to, show it."""
    settings = Settings.read()
    if clear and to:
        raise ConfigurationError("--clear takes no --to")
    if clear:
        _store(settings, address, None)
        print("cleared")
        return
    if not to:
        show(_rows(_held(settings, address)), as_json=as_json)
        return
    chain = Chain(_steps(to, after or []), rounds)
    _check(settings, address, chain)
    _store(settings, address, chain)
    show(_rows(chain), as_json=as_json)


def _steps(to: Sequence[str], after: Sequence[str]) -> tuple[Step, ...]:
    if len(after) not in (1, len(to)):
        raise ConfigurationError("give --after once, or once for each --to")
    if len(to) > MOST_STEPS:
        raise ConfigurationError(f"a chain has at most {MOST_STEPS} steps")
    waits = [*map(_seconds, after)] * (len(to) if len(after) == 1 else 1)
    return tuple(Step(wait, _target(text)) for wait, text in zip(waits, to, strict=True))


def _target(text: str) -> Person | Push:
    kind, _, rest = text.partition(":")
    if kind == "mail" and domain_of(rest) is not None:
        return Person(rest.strip())
    if kind == "apprise" and "://" in rest:
        return Push(rest)
    raise ConfigurationError("--to takes mail:ADDRESS or apprise:URL")


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    seconds = float(int(match[1]) * _SECONDS[match[2]]) if match else 0.0
    if not SHORTEST <= seconds <= LONGEST:
        raise ConfigurationError("--after takes a time such as 90s, 10m or 2h, of at most 7d")
    return seconds


def _check(settings: Settings, address: str, chain: Chain) -> None:
    """Everybody in it can be reached by what is known now."""
    from serving.escalation.push import Pushes

    pushes, lookup = Pushes(settings.apprise_schemes), load_lookup(settings.keys)
    for step in chain.steps:
        match step.to:
            case Person(person) if canonical_address(person) == canonical_address(address):
                raise ConfigurationError("that is the recipient's own address; another person or channel comes next")
            case Person(person):
                _check_person(settings, lookup, person)
            case Push() as push:
                pushes.check(push)


def _check_person(settings: Settings, lookup: LookupKey, person: str) -> None:
    row = ask(settings, lambda client: client.query("recipient", lookup=lookup.address(person).hex()))
    if not row:
        raise ConfigurationError("nobody is registered under an address of --to; see `clarion recipient add`")
    if row[0]["certificate"] is None and row[0]["policy"].get("open") is not True:
        raise ConfigurationError("mail for an address of --to would be held: it has neither a certificate nor --open")


def _store(settings: Settings, address: str, chain: Chain | None) -> None:
    lookup = load_lookup(settings.keys).address(address).hex()
    sealing = load_unsealing(settings.keys, "content").sealing_key
    sealed = None if chain is None else sealing.seal(write_chain(chain)).hex()

    async def work(client: Client) -> None:
        await registered(client, lookup)
        await client.execute("set_escalation", lookup=lookup, chain=sealed)

    ask(settings, work)


def _held(settings: Settings, address: str) -> Chain | None:
    lookup = load_lookup(settings.keys).address(address).hex()

    async def work(client: Client) -> list[dict[str, Any]]:
        await registered(client, lookup)
        return await client.query("escalation", lookup=lookup)

    rows = ask(settings, work)
    if not rows:
        return None
    return read_chain(load_unsealing(settings.keys, "content").unseal(bytes.fromhex(rows[0]["chain"])))


def _rows(chain: Chain | None) -> list[dict[str, Any]]:
    if chain is None:
        return []
    return [
        {"step": number, "after": duration(step.after), "to": _shown(step.to), "rounds": chain.rounds}
        for number, step in enumerate(chain.steps, 1)
    ]


def _shown(to: Person | Push) -> str:
    """A person's address; of a URL, which may hold tokens, the scheme."""
    return f"mail:{to.address}" if isinstance(to, Person) else f"apprise:{to.scheme}://…"
