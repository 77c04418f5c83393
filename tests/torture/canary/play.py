"""The run: canaries are sent while processes are killed, everything is killed once, and in the end all is at rest."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from serving.errors import BrokerUnavailable, ConfigurationError, Refused
from serving.identifiers import parse_id
from serving.queue.client import Client
from tests.torture.canary.house import KEEPERS, House
from tests.torture.canary.leaks import leak
from tests.torture.canary.letters import Letter, Letters
from tests.torture.canary.places import Found, search_unlinked
from tests.torture.canary.posting import Post
from tests.torture.canary.search import Search
from tests.torture.canary.tokens import Tokens

QUESTIONS = 20
CRASH_AT = 0.6
"""Share of the canaries that are accepted when everything is killed."""
CALM = 0.1
"""Share of the canaries that still move when the killing stops."""
STALLED_AFTER = 150.0
ARBITER, ITS_TURN = "bentoml", 10
"""Who starts BentoML's processes is killed every tenth time: all of them go with it."""
ITS_CRASH = 3
VICTIMS = (*KEEPERS, "serving.queue.broker", "serving.payment.sandbox", "serving.webhooks")
REACTIONS = 50
FEEDBACK = ("acknowledged", "not_urgent", "was_urgent")
MOVING = ("queued", "leased")

Progress = Callable[[int], None]


@dataclass(slots=True)
class Flight:
    """What flew. `kills` counts by process; `found` is what the canaries' ends say, by number."""

    letters: dict[int, Letter] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    found: dict[int, dict[str, Any] | None] = field(default_factory=dict)


class Play:
    """Drives a house that is ready."""

    def __init__(self, house: House, post: Post, client: Client, tokens: Tokens, random: Random, n: int) -> None:
        self._house, self._post, self._client, self._tokens, self._random = house, post, client, tokens, random
        self._letters = Letters(tokens, random)
        self._n = n
        self._turns = asyncio.Semaphore(24)
        self._sending: list[asyncio.Task[None]] = []
        self.flight = Flight()

    async def until_crash(self, rate: float, leaks: Sequence[str], progress: Progress) -> None:
        """Send, `rate` canaries a second, and return when enough were accepted; the rest is still being sent."""
        self._sending = [asyncio.create_task(self._send(number, number / rate, progress)) for number in range(self._n)]
        await self._ask_questions()
        while len(self._post.ids) < CRASH_AT * self._n:
            self._check_sending()
            await asyncio.sleep(0.1)
        for place in leaks:
            await leak(place, self._house, self._tokens)

    async def until_calm(self) -> None:
        """Return when all were accepted and few still move."""
        await asyncio.gather(*self._sending)
        await self._drain(1.0 + CALM * self._n)

    async def to_the_end(self) -> None:
        """Recipients react, an operator pushes, gives up and sends again; then nothing moves, and all are asked for."""
        await self._drain(0.0)
        await self._find()
        await self._stir()
        await self._drain(0.0)
        await self._find()

    async def kill_at_random(self, every: float) -> None:
        """One process every so many seconds on average, until cancelled: kill -9, or a crash that would dump core.

        While no mail is taken nobody is killed: the last victim is waited for.
        """
        turn = 0
        while True:
            await asyncio.sleep(every * (0.5 + self._random.random()))
            if not await asyncio.to_thread(self._house.takes_mail):
                continue
            turn += 1
            processes = await asyncio.to_thread(self._house.processes)
            is_its_turn = turn % ITS_TURN == 0
            wanted = (ARBITER,) if is_its_turn else VICTIMS
            victims = [(name, pid) for pid, name in processes.items() if name in wanted]
            if victims:
                name, pid = self._random.choice(sorted(victims))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSEGV if turn % ITS_CRASH == 0 else signal.SIGKILL)
                    self.flight.kills[name] += 1

    async def look_into_unlinked_files(self, search: Search, found: Found) -> None:
        """Every second, until cancelled."""
        while True:
            processes = await asyncio.to_thread(self._house.processes)
            await asyncio.to_thread(search_unlinked, processes, search, found)
            await asyncio.sleep(1.0)

    async def abandon(self) -> None:
        """Send no more."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self, number: int, after: float, progress: Progress) -> None:
        await asyncio.sleep(after)
        async with self._turns:
            letter = self._letters.letter(number)
            await self._post.send(letter)
            self.flight.letters[number] = replace(letter, content=b"")
            progress(1)

    def _check_sending(self) -> None:
        for task in self._sending:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _ask_questions(self) -> None:
        for path in ("/v1/classify", "/classify"):
            questions = self._letters.questions(QUESTIONS)
            for asked in (questions, questions[0]):
                status = await self._post.ask(path, "application/json", json.dumps(asked).encode())
                if status != 200:
                    raise ConfigurationError(f"{path} answers {status}")
        for path, media_type, content in self._letters.refused():
            for with_key in (True, False):
                status = await self._post.ask(path, media_type, content, with_key=with_key)
                if not 400 <= status < 500:
                    raise ConfigurationError(f"{path} answers {status} to {media_type} that it should refuse")

    async def _stir(self) -> None:
        for place, id_ in enumerate(self._in_state("deferred")):
            if place % 3 < 2:
                await self._operate("retry", id_)
        for place, id_ in enumerate(self._in_state("parked")):
            if place % 3 == 0:
                await self._operate("kill", id_, cause="killed by the canary")
            if place % 6 == 0:
                await self._operate("replay", id_)
        for place, id_ in enumerate(self._in_state("delivered")[:REACTIONS]):
            await self._post.react(id_, FEEDBACK[place % len(FEEDBACK)])

    def _in_state(self, state: str) -> list[str]:
        answers = (answer for _, answer in sorted(self.flight.found.items()) if answer is not None)
        return [answer["id"] for answer in answers if answer["state"] == state]

    async def _operate(self, verb: str, id_: str, **parameters: str) -> None:
        with suppress(Refused):  # it went on by itself meanwhile
            await self._client.query(verb, id=str(parse_id(id_)), **parameters)

    async def _find(self) -> None:
        async def find(number: int, id_: str) -> None:
            async with self._turns:
                self.flight.found[number] = await self._post.find(id_)

        await asyncio.gather(*(find(number, id_) for number, id_ in self._post.ids.items()))

    async def _drain(self, rest: float) -> None:
        """Until no more than `rest` move, or nothing has changed for long."""
        last: Any = None
        since = time.monotonic()
        while time.monotonic() - since < STALLED_AFTER:
            depths = await self._depths()
            if depths is not None and sum(row["count"] for row in depths if row["state"] in MOVING) <= rest:
                return
            if depths is not None and depths != last:
                last, since = depths, time.monotonic()
            await asyncio.sleep(0.3)
        raise ConfigurationError("the queue does not drain; see the log of the gateway")

    async def _depths(self) -> list[Mapping[str, Any]] | None:
        try:
            return [
                {name: row[name] for name in ("stage", "state", "count")} for row in await self._client.query("depths")
            ]
        except BrokerUnavailable:
            return None
