"""One worker of the pipeline: python -m tests.torture.payments.worker STAGE WORLD

`payment`, `delivery` and `settlement` are the real stages. `entry` stands for what comes before them (authentication,
classification, encryption) and for who asks for money, each with the one outcome that leads on.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from serving import stage as stages
from serving.delivery.routes import Smarthost
from serving.delivery.schedule import Schedule
from serving.delivery.stage import Delivery
from serving.payment.policy import Defaults
from serving.payment.release import Release
from serving.payment.stage import Payment
from serving.pipeline import Asked, Authenticated, Enclosed, Outcome, Stage, Urgent
from serving.queue.client import Client
from serving.settlement import Settlement
from serving.stage import Handler, Shortfall, Work, serve
from serving.values import Prediction, Sealed
from tests.torture.payments.bank import bank
from tests.torture.payments.world import CURRENCY, HOST, PRICE, World

WORKERS = ("entry", "payment", "delivery", "settlement")
VISIBILITY = 10.0
"""Seconds after which a lease comes back that was on its way when the broker died; 120 in service."""
WAIT = EXPIRY = 86_400.0
"""Seconds that a notification waits for money, and that delivery tries: longer than any run."""
LOOK_AGAIN = 5.0
QUICK = Schedule(first=0.2, cap=1.0)


async def authenticate(_: Work) -> Outcome:
    """Whoever it is."""
    return Authenticated("api_key")


async def classify(_: Work) -> Outcome:
    """All of it is urgent, so that all of it is paid for."""
    return Urgent(Prediction("urgent", 0.9, None, False, "torture"), None)


async def ask(work: Work) -> Outcome:
    """The payer is asked for money, and comes or does not; no mail is written."""
    return Asked(work.id, time.time() + LOOK_AGAIN)


class Encryption:
    """Encloses a mail whose Message-ID says which notification it is, and whose subject is its number in the run."""

    def __init__(self, world: World) -> None:
        self._key = world.key.sealing_key

    async def handle(self, work: Work) -> Outcome:
        """The envelope, as delivery opens it."""
        name = f"<{work.id}@torture.invalid>"
        fields = {"mail_from": "clarion@torture.invalid", "rcpt_to": work.address.decode(), "message_id": name}
        mail = f"Message-ID: {name}\r\nSubject: {work.body.decode()}\r\n\r\n...\r\n"
        return Enclosed(Sealed(self._key.seal(json.dumps(fields).encode() + b"\n" + mail.encode()), "openpgp"))


async def work(name: str, world: World) -> None:
    """Work until killed."""
    client = await Client.connect(world.socket, timeout=60.0)
    async with _handlers(name, world, client) as (handlers, unfunded), asyncio.TaskGroup() as tasks:
        for stage, handle in handlers.items():
            tasks.create_task(serve(stage, client, handle, unfunded=unfunded))


@asynccontextmanager
async def _handlers(
    name: str, world: World, client: Client
) -> AsyncIterator[tuple[Mapping[Stage, Handler], Shortfall | None]]:
    match name:
        case "entry":
            yield _entry(world), None
        case "payment":
            payment = Payment(client, Defaults(PRICE, CURRENCY, WAIT))
            yield {Stage.PAYMENT: payment.handle}, payment.unfunded
        case "delivery":
            yield {Stage.DELIVERY: _delivery(world).handle}, None
        case "settlement":
            async with world.client() as provider:
                release = Release(client, bank(provider, world), after_refusal=2.0)
                settlement = Settlement(release, release.void)
                yield {Stage.SETTLEMENT: settlement.handle}, None
        case _:
            raise ValueError(f"no worker {name!r}; one of {', '.join(WORKERS)}")


def _entry(world: World) -> Mapping[Stage, Handler]:
    return {
        Stage.AUTHENTICATION: authenticate,
        Stage.CLASSIFICATION: classify,
        Stage.ENCRYPTION: Encryption(world).handle,
        Stage.NOTICE: ask,
    }


def _delivery(world: World) -> Delivery:
    receiver = Smarthost(HOST, world.smtp, "clarion.torture.invalid")
    return Delivery(world.key, receiver, expiry=EXPIRY, random=world.chance("delivery"), schedule=QUICK)


if __name__ == "__main__":
    stages.VISIBILITY = VISIBILITY
    asyncio.run(work(sys.argv[1], World.read(sys.argv[2])))
