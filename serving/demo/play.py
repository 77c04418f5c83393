"""The demo itself: start everything, enrol the cast, post the mail, let some pay, wait, and judge from outside."""

import asyncio
import random
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from os import kill
from pathlib import Path
from typing import Any

from serving.demo import audit
from serving.demo.cast import Cast, Person
from serving.demo.enrolling import enrol, pay
from serving.demo.mailbox import Mail
from serving.demo.running import Running, start
from serving.demo.submission import Senders
from serving.demo.view import View
from serving.errors import BrokerUnavailable
from serving.queue.client import Client
from serving.settings import Settings

STALLED_AFTER = 120.0
KILLS = 12
MOVING = frozenset({"queued", "leased"})


@dataclass(frozen=True, slots=True)
class Script:
    """What is played. `unreadable` counts the mails that were kept aside; `chaos` seeds kills of random processes while
    mail flows, None leaves them alone."""

    mails: Sequence[Mail]
    cast: Cast
    unreadable: int = 0
    chaos: int | None = None


async def play(script: Script, settings: Settings, artefact: Path, view: View) -> dict[str, Any]:
    """The report. Cancelled once mail is posted, it ends early with a report that says so.

    Raises:
        ConfigurationError: something cannot start.
    """
    async with AsyncExitStack() as resources:
        view.say("starting the broker, the provider, the receiver and the stages")
        running = await start(settings, artefact, view, resources)
        view.say(f"enrolling {len(script.cast.senders)} senders and {len(script.cast.people)} recipients")
        keys = await enrol(running, script.cast)
        senders = Senders(f"http://127.0.0.1:{settings.http_port}", keys)
        resources.push_async_callback(senders.close)
        _accompany(running, senders, script, resources)
        return await _performance(running, senders, script)


def _accompany(running: Running, senders: Senders, script: Script, resources: AsyncExitStack) -> None:
    """What goes on beside the play: somebody watches, and somebody may kill."""
    watching = asyncio.create_task(_watch(running, senders))
    resources.callback(watching.cancel)
    if script.chaos is not None:
        killing = asyncio.create_task(_kill_at_random(running, random.Random(script.chaos)))  # noqa: S311
        resources.callback(killing.cancel)


async def _performance(running: Running, senders: Senders, script: Script) -> dict[str, Any]:
    started = time.monotonic()
    try:
        await _perform(running, senders, script)
        seconds = time.monotonic() - started
        running.view.say("asking for every notification, and counting what the receiver and the provider have")
        found = await senders.find_all()
    except asyncio.CancelledError:
        running.view.say("interrupted: stopping everything")
        seconds, found = time.monotonic() - started, None
    arrived = await asyncio.to_thread(audit.received, running.settings.maildir)
    accepted = senders.receipts.accepted
    counts = audit.unjudged(accepted, arrived) if found is None else audit.tally(accepted, found, arrived)
    return (
        _report(running, senders, script, arrived)
        | counts
        | {
            "interrupted": found is None,
            "seconds": round(seconds, 2),
        }
    )


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
        await pay(running, lookup, amount, f"demo:later:{lookup.hex()[:16]}")


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
    picture = running.view.picture
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


def _report(running: Running, senders: Senders, script: Script, arrived: Mapping[str, int]) -> dict[str, Any]:
    settings, receipts = running.settings, senders.receipts
    money = audit.money(settings.provider_log, arrived, running.paid)
    return {
        "messages": len(script.mails),
        "unreadable": script.unreadable,
        "accepted": len(receipts.accepted),
        "refused": sum(receipts.refused.values()),
        "double_charged": money.double_charged,
        "charged_undelivered": money.charged_undelivered,
        "delivered_paid": money.delivered_paid,
        "delivered_twice": sum(1 for id_, count in arrived.items() if count > 1 and id_ in receipts.ids),
        "money": {"charged": money.charged, "released": money.released, "currency": settings.currency},
        "refusals": dict(sorted(receipts.refused.items())),
        "restarts": dict(running.supervisor.restarts),
        "chaos": script.chaos,
        "killed": running.killed,
    }
