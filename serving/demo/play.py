"""The demo itself: start everything, enrol the cast, post the mail, let some pay, wait, and judge from outside."""

import asyncio
import random
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from os import kill
from pathlib import Path
from typing import Any

from serving import programs
from serving.demo import audit
from serving.demo.cast import Cast, Person
from serving.demo.mailbox import Mail
from serving.demo.submission import Senders
from serving.demo.view import Picture, View
from serving.encryption.certificates import generate_test_key
from serving.enrolment import Registrar
from serving.errors import BrokerUnavailable, ConfigurationError
from serving.payment.provider import Done
from serving.payment.sandbox_client import SandboxClient
from serving.payment.topup import top_up
from serving.queue.client import Client
from serving.sealing import load_lookup, load_sealing
from serving.settings import Settings
from serving.supervisor import Supervisor

READY_WITHIN = 180.0
STALLED_AFTER = 120.0
KILLS = 12
MOVING = frozenset({"queued", "leased"})


@dataclass(frozen=True, slots=True)
class Script:
    """What is played. `chaos` seeds kills of random processes while mail flows; None leaves them alone."""

    mails: Sequence[Mail]
    cast: Cast
    chaos: int | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """Everything that runs during a demo."""

    settings: Settings
    supervisor: Supervisor
    client: Client
    provider: SandboxClient
    registrar: Registrar
    view: View
    paid: set[str] = field(default_factory=set)
    killed: list[str] = field(default_factory=list)


async def play(script: Script, settings: Settings, artefact: Path, view: View) -> dict[str, Any]:
    """The report. Raises ConfigurationError where something cannot start."""
    async with AsyncExitStack() as resources:
        view.say("starting the broker, the provider, the receiver and the stages")
        running = await _start(settings, artefact, view, resources)
        view.say(f"enrolling {len(script.cast.senders)} senders and {len(script.cast.people)} recipients")
        keys = await _enrol(running, script.cast)
        senders = Senders(f"http://127.0.0.1:{settings.http_port}", keys)
        resources.push_async_callback(senders.close)
        watching = asyncio.create_task(_watch(running, senders))
        resources.callback(watching.cancel)
        if script.chaos is not None:
            killing = asyncio.create_task(_kill_at_random(running, random.Random(script.chaos)))  # noqa: S311
            resources.callback(killing.cancel)
        started = time.monotonic()
        await _perform(running, senders, script)
        seconds = time.monotonic() - started
        view.say("asking for every notification, and counting what the receiver and the provider have")
        return await _judge(running, senders, script, seconds)


def free_port() -> int:
    """A TCP port of this machine that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _start(settings: Settings, artefact: Path, view: View, resources: AsyncExitStack) -> Running:
    started_in_order = [
        programs.broker(settings),
        programs.sandbox(settings),
        programs.receiver(settings),
        programs.gateway(settings, artefact),
    ]
    supervisor = await resources.enter_async_context(Supervisor(started_in_order, settings.home))
    client = await Client.connect(settings.socket, timeout=30.0)
    resources.push_async_callback(client.close)
    provider = await resources.enter_async_context(SandboxClient(settings.provider_url))
    registrar = Registrar(client, load_sealing(settings.keys, "content"), load_lookup(settings.keys))
    await supervisor.ready(READY_WITHIN)
    return Running(settings, supervisor, client, provider, registrar, view)


async def _enrol(running: Running, cast: Cast) -> dict[str, str]:
    """The senders' API keys by id. Recipients get test keys, kept in `recipients/`, and their first money."""
    keys = {
        sender.id: await running.registrar.principal(sender.id, sender.name, sender.domains, {})
        for sender in cast.senders
    }
    folder = running.settings.home / "recipients"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number, person in enumerate(cast.people):
        await _enrol_person(running, person, folder / f"{number:05d}.asc")
    return keys


async def _enrol_person(running: Running, person: Person, key_file: Path) -> None:
    certificate = None
    if person.has_key:
        certificate, secret = await asyncio.to_thread(generate_test_key, person.address, person.name)
        await asyncio.to_thread(_keep_secret, key_file, secret)
    lookup = await running.registrar.recipient(person.address, certificate, person.wishes, person.policy)
    if person.balance:
        await _pay(running, lookup, person.balance, f"demo:first:{lookup.hex()[:16]}")


def _keep_secret(path: Path, secret: str) -> None:
    path.touch(mode=0o600)
    path.write_text(secret, encoding="utf-8")


async def _pay(running: Running, lookup: bytes, amount: int, key: str) -> None:
    """A recipient pays by phone. An answer that is lost is asked for under the same key."""
    running.paid.add(key)
    for _ in range(60):
        with suppress(BrokerUnavailable):
            answer = await top_up(
                running.client,
                running.provider,
                lookup=lookup,
                amount=amount,
                currency=running.settings.currency,
                key=key,
            )
            if isinstance(answer, Done):
                return
        await asyncio.sleep(0.5)
    raise ConfigurationError("the sandbox provider does not answer; see its log")


async def _perform(running: Running, senders: Senders, script: Script) -> None:
    running.view.say(f"posting {len(script.mails)} mails to /v1/notify")
    running.view.picture.mails = len(script.mails)

    def posted() -> None:
        running.view.picture.posted += 1

    async with asyncio.TaskGroup() as tasks:
        for mail in script.mails:
            tasks.create_task(senders.post(mail, _submitter(script.cast, mail), posted))
    running.view.say("waiting until nothing moves")
    await _drain(running)
    broke = [person for person in script.cast.people if not person.balance][::2]
    if broke:
        running.view.say(f"{len(broke)} of the recipients without funds pay by phone")
        await _let_pay(running, broke, senders)
        await _drain(running)


def _submitter(cast: Cast, mail: Mail) -> str:
    return cast.relay if mail.message is None else cast.submitter(mail.message)


async def _let_pay(running: Running, people: Sequence[Person], senders: Senders) -> None:
    amount = max(len(senders.receipts.ids), 1) * running.settings.price
    for person in people:
        lookup = running.registrar.lookup.address(person.address)
        await _pay(running, lookup, amount, f"demo:later:{lookup.hex()[:16]}")


async def _drain(running: Running) -> None:
    """Until nothing is queued or leased, or nothing has moved for a while."""
    last, since = None, time.monotonic()
    while time.monotonic() - since < STALLED_AFTER:
        depths = await _depths(running.client)
        if depths is not None and not any(row["count"] for row in depths if row["state"] in MOVING):
            return
        now = None if depths is None else sorted((str(row["stage"]), row["state"], row["count"]) for row in depths)
        if now is None or now != last:
            last, since = now, time.monotonic()
        await asyncio.sleep(0.2)


async def _depths(client: Client) -> list[Mapping[str, Any]] | None:
    try:
        return list(await client.query("depths"))
    except BrokerUnavailable:
        return None


async def _watch(running: Running, senders: Senders) -> None:
    picture: Picture = running.view.picture
    while True:
        picture.depths = await _depths(running.client) or picture.depths
        picture.accepted = len(senders.receipts.ids)
        picture.restarts = running.supervisor.restarts
        running.view.show()
        await asyncio.sleep(0.25)


async def _kill_at_random(running: Running, chance: random.Random) -> None:
    """kill -9 of one process every second or so, BentoML's workers among them; KILLS in all, so that it ends."""
    for _ in range(KILLS):
        await asyncio.sleep(0.5 + chance.random())
        name, process_id = chance.choice(sorted(running.supervisor.processes().items()))
        with suppress(ProcessLookupError):
            kill(process_id, signal.SIGKILL)
            running.killed.append(name)


async def _judge(running: Running, senders: Senders, script: Script, seconds: float) -> dict[str, Any]:
    found = await senders.find_all()
    arrived = await asyncio.to_thread(audit.received, running.settings.maildir)
    money = audit.money(running.settings.provider_log, arrived, running.paid)
    return {
        "messages": len(script.mails),
        "accepted": len(senders.receipts.accepted),
        "refused": sum(senders.receipts.refused.values()),
        **audit.tally(senders.receipts.accepted, found, arrived),
        "double_charged": money.double_charged,
        "charged_undelivered": money.charged_undelivered,
        "delivered_paid": money.delivered_paid,
        "delivered_twice": sum(1 for id_, count in arrived.items() if count > 1 and id_ in found),
        "money": {"charged": money.charged, "released": money.released, "currency": running.settings.currency},
        "refusals": dict(sorted(senders.receipts.refused.items())),
        "restarts": dict(running.supervisor.restarts),
        "chaos": script.chaos,
        "killed": running.killed,
        "seconds": round(seconds, 2),
    }


def demo_settings(home: Path) -> Settings:
    """Settings for one demo: its own home, free ports, and retries that a person can wait for."""
    smtp, provider, http = (free_port() for _ in range(3))
    return Settings(
        home=home,
        http_port=http,
        smtp_port=smtp,
        provider_url=f"http://127.0.0.1:{provider}",
        first_retry=0.5,
        longest_retry=5.0,
    )
