"""The run itself: mail is published, recipients pay, processes are killed; then all is quiet, and the queue drains."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from serving.errors import BrokerUnavailable
from serving.queue.client import Client, Recipient, Submission
from tests.torture.payments.cast import Cast, Person
from tests.torture.payments.processes import Fleet
from tests.torture.payments.world import HOST, World

Answer = TypeVar("Answer")

TURN = 0.25
"""Seconds between two groups of notifications, and between two looks at how far it has come."""
BACKLOG = 500
"""Notifications on their way at which publishing waits."""
PAYERS = 8
"""Recipients who pay at the same time."""
CALM = 0.9
"""Share of the notifications that have ended when the killing stops."""
ENDS = ("delivered", "dead")


@dataclass(frozen=True, slots=True)
class Pace:
    """`rate`: notifications a second; `every`: seconds between two kills, on average; `limit`: seconds for the run."""

    rate: float
    every: float
    limit: float


@dataclass(slots=True)
class Run:
    """How far it has come. `accepted` tells each notification's recipient; what is interrupted keeps it all."""

    cast: Cast
    accepted: dict[int, int] = field(default_factory=dict)
    paid: int = 0
    depths: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, *states: str) -> int:
        """Notifications in one of these states."""
        return sum(row["count"] for row in self.depths if row["state"] in states)

    @property
    def wanted(self) -> int:
        """Notifications that are to be published."""
        return len(self.cast.recipients)

    @property
    def ended(self) -> int:
        """Notifications that move no more."""
        return self.count(*ENDS)


class Play:
    """Drives one run over a fleet that is running already."""

    def __init__(self, world: World, fleet: Fleet, client: Client, run: Run, pace: Pace) -> None:
        self._world, self._fleet, self._client, self._run, self._pace = world, fleet, client, run, pace
        self._paying: asyncio.Queue[Person] = asyncio.Queue()
        self._late: set[int] = set()
        self._waiting: dict[int, int] = {}

    async def perform(self) -> None:
        """Return when every notification has ended; raises TimeoutError at the limit."""
        started = time.monotonic()
        try:
            async with (
                asyncio.timeout(self._pace.limit),
                httpx.AsyncClient(base_url=f"http://{HOST}:{self._world.till}", timeout=5.0, trust_env=False) as till,
                asyncio.TaskGroup() as tasks,
            ):
                beside = [self._watch(), self._find_the_late(), *(self._pay(till) for _ in range(PAYERS))]
                accompanying = [tasks.create_task(each) for each in beside]
                await self._rage(tasks)
                self._fleet.calm()
                await self._until(lambda: self._run.ended == self._run.wanted)
                for task in accompanying:
                    task.cancel()
        finally:
            self._run.seconds = time.monotonic() - started

    async def _rage(self, tasks: asyncio.TaskGroup) -> None:
        """Until most of it has ended in spite of everything."""
        killing = tasks.create_task(self._kill_at_random())
        await self._publish()
        await self._until(lambda: self._run.ended >= CALM * self._run.wanted)
        killing.cancel()

    async def _publish(self) -> None:
        known: set[int] = set()
        for group in _groups(self._run.cast.recipients, max(1, round(self._pace.rate * TURN))):
            await self._until(lambda: self._run.count("queued", "leased") < BACKLOG)
            for recipient in {recipient for _, recipient in group} - known:
                known.add(recipient)
                if not self._run.cast.people[recipient].is_late:
                    self._paying.put_nowait(self._run.cast.people[recipient])
            await asyncio.gather(*(self._accept(number, recipient) for number, recipient in group))
            await asyncio.sleep(len(group) / self._pace.rate)

    async def _accept(self, number: int, recipient: int) -> None:
        """As a sender does it: the same key until there is an answer."""
        person = self._run.cast.people[recipient]
        to = (Recipient(person.lookup, person.address.encode()),)
        submission = Submission("torture", str(number).encode(), to, key=f"mail:{number}", urgent=True)
        accepted = await patiently(lambda: self._client.accept(submission))
        self._run.accepted[accepted.notification_ids[0]] = recipient
        if person.is_late and recipient not in self._late:
            self._late.add(recipient)
            self._waiting[recipient] = accepted.notification_ids[0]

    async def _pay(self, till: httpx.AsyncClient) -> None:
        """As a recipient does it: the same payment until the wallet has it."""
        while True:
            person = await self._paying.get()
            await _pay_in(till, {"wallet": person.wallet, "amount": person.amount, "key": person.key})
            self._run.paid += 1

    async def _find_the_late(self) -> None:
        """Those pay last whose mail waits for it."""
        while True:
            await asyncio.sleep(TURN)
            for recipient, id_ in list(self._waiting.items()):
                if await self._is_parked(id_):
                    del self._waiting[recipient]
                    self._paying.put_nowait(self._run.cast.people[recipient])

    async def _is_parked(self, id_: int) -> bool:
        rows = await patiently(lambda: self._client.query("notification", id=str(id_)))
        return bool(rows[0]["state"] == "parked")

    async def _kill_at_random(self) -> None:
        chance = self._world.chance("kills")
        while True:
            await asyncio.sleep(self._pace.every * chance.uniform(0.5, 1.5))
            self._fleet.kill(chance.choice(self._fleet.victims))

    async def _watch(self) -> None:
        with tqdm(total=self._run.wanted, desc="ended", unit="mail", mininterval=1.0) as bar:
            while True:
                self._fleet.revive()
                with suppress(BrokerUnavailable):
                    self._run.depths = await self._client.query("depths")
                bar.update(self._run.ended - bar.n)
                bar.set_postfix(parked=self._run.count("parked"), kills=self._fleet.killed.total(), refresh=False)
                await asyncio.sleep(TURN)

    async def _until(self, predicate: Callable[[], bool]) -> None:
        while True:
            if predicate():
                return
            await asyncio.sleep(TURN)


async def patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """What the broker answers, however often it is killed meanwhile."""
    while True:
        try:
            return await ask()
        except BrokerUnavailable:
            await asyncio.sleep(0.1)


def _groups(recipients: tuple[int, ...], size: int) -> Iterator[list[tuple[int, int]]]:
    numbered = list(enumerate(recipients))
    return (numbered[start : start + size] for start in range(0, len(numbered), size))


async def _pay_in(till: httpx.AsyncClient, order: dict[str, Any]) -> None:
    while True:
        with suppress(httpx.HTTPError):
            if (await till.post("/top-ups", json=order)).status_code == 200:
                return
        await asyncio.sleep(0.5)
