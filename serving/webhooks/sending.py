"""Tells senders' webhooks what the store says they are to be told: claim, send, close; nobody waits for another's.

What was claimed and not closed, because this program or the broker went away, is claimed again once its time is over:
a receiver may hear of an event twice, and then under the same id.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from serving.errors import BrokerUnavailable, Refused
from serving.insisting import insist
from serving.sealing import LookupKey
from serving.webhooks.post import Reply
from serving.webhooks.schedule import STANDARD, Schedule
from serving.webhooks.signing import Signer, event_of

_log = logging.getLogger(__name__)


class Store(Protocol):
    """What sending asks of the broker."""

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


class Receiver(Protocol):
    """Who takes one sender's events."""

    async def send(self, url: str, fields: Mapping[str, str], body: bytes) -> Reply: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How much at once, in all and to `each` receiver; seconds between two looks at the store, and for which an event
    is ours: longer than an attempt takes.

    A receiver that failed `patience` times in a row gets one event at a time, after a pause that doubles from `pause`
    up to `longest_pause` seconds: a backlog must not fall upon one that is about to come back. One that asks for time
    gets it, up to `longest_asked` seconds. `farewell` is how long what is on its way has when this is to end.
    """

    total: int = 256
    each: int = 8
    tick: float = 0.5
    lease: float = 45.0
    patience: int = 8
    pause: float = 1.0
    longest_pause: float = 60.0
    longest_asked: float = 3_600.0
    farewell: float = 17.0


@dataclass(slots=True)
class _Line:
    """One receiver, as this program knows it."""

    receiver: Receiver
    busy: int = 0
    failures: int = 0
    resumes_at: float = 0.0
    used_at: float = 0.0

    def room(self, pace: Pace, now: float) -> int:
        """How many events it may get now."""
        if now < self.resumes_at:
            return 0
        return (1 if self.failures >= pace.patience else pace.each) - self.busy

    def learn(self, reply: Reply, pace: Pace, now: float) -> None:
        """From how an attempt ended."""
        self.failures = 0 if reply.is_told else self.failures + 1
        over = self.failures - pace.patience
        pause = min(pace.pause * 2.0 ** min(over, 32), pace.longest_pause) if over >= 0 else 0.0
        if reply.is_throttled:
            pause = max(pause, min(reply.retry_after, pace.longest_asked))
        if pause:
            self.resumes_at = now + pause


@dataclass(slots=True)
class Sending:
    """Runs until cancelled. `connect` makes a receiver for a sender's events; `clock` is seconds since the epoch."""

    store: Store
    key: LookupKey
    connect: Callable[[], Receiver]
    random: Random
    pace: Pace = field(default_factory=Pace)
    schedule: Schedule = STANDARD
    clock: Callable[[], float] = time.time
    _lines: dict[str, _Line] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _after: str = ""

    async def run(self) -> None:
        """Claim and send; what is on its way is finished before this ends."""
        try:
            while True:
                self._ended.clear()
                claimed = await self._claim()
                for event in claimed:
                    self._begin(event)
                await self._wait(more=bool(claimed))
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self.pace.farewell)
            for line in self._lines.values():
                await line.receiver.close()

    async def _claim(self) -> list[dict[str, Any]]:
        """What is due, without those who have no room; nothing while the broker is away."""
        free, now, each = self.pace.total - len(self._tasks), self.clock(), self.pace.each
        if free <= 0:
            return []
        busy = {sender: each - line.room(self.pace, now) for sender, line in self._lines.items()}
        taken = {sender: count for sender, count in busy.items() if count}
        try:
            answer = await self.store.execute(
                "claim_webhooks", count=free, each=each, lease=self.pace.lease, busy=taken, after=self._after
            )
        except (BrokerUnavailable, Refused) as error:
            if isinstance(error, Refused) and error.reason != "storage":
                raise
            return []
        events: list[dict[str, Any]] = answer["events"]
        if events:
            self._after = events[-1]["principal"]
        return events

    async def _wait(self, *, more: bool) -> None:
        """For an attempt to end, or for the next look; receivers that nothing was sent to for long are left."""
        if not more or self._is_full():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pace.tick):  # wait_for of Python 3.11 can miss that we are to end
                    await self._ended.wait()
        idle = [sender for sender, line in self._lines.items() if not line.busy and self._is_over(line)]
        for sender in idle:
            await self._lines.pop(sender).receiver.close()

    def _is_full(self) -> bool:
        return len(self._tasks) >= self.pace.total

    def _is_over(self, line: _Line) -> bool:
        return self.clock() > max(line.used_at, line.resumes_at) + self.pace.longest_pause

    def _begin(self, event: Mapping[str, Any]) -> None:
        line = self._lines.get(event["principal"])
        if line is None:
            line = self._lines[event["principal"]] = _Line(self.connect())
        line.busy += 1
        task = asyncio.create_task(self._send(line, event))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._done(line, done))

    def _done(self, line: _Line, task: "asyncio.Task[None]") -> None:
        line.busy -= 1
        line.used_at = self.clock()
        self._tasks.discard(task)
        self._ended.set()
        if not task.cancelled() and task.exception() is not None:
            _log.error("an event was not sent (%s); it is tried again", type(task.exception()).__name__)

    async def _send(self, line: _Line, claimed: Mapping[str, Any]) -> None:
        event = event_of(claimed)
        signer = Signer(self.key, claimed["principal"], claimed["version"], claimed["rotated_at"])
        try:
            reply = await line.receiver.send(claimed["url"], signer.fields(event, self.clock()), event.body)
        except Exception as error:  # whatever it is, it must not keep what comes after from being sent
            reply = Reply(False, f"it could not be sent ({type(error).__name__})")
        line.learn(reply, self.pace, self.clock())
        state, delay = self._closing(reply, claimed["attempt"])
        closing = {"id": claimed["id"], "attempt": claimed["attempt"], "state": state, "delay": delay}
        await insist(lambda: self.store.execute("close_webhook", **closing, reply=reply.words))

    def _closing(self, reply: Reply, attempt: int) -> tuple[str, float]:
        if reply.is_told:
            return "told", 0.0
        if reply.is_gone:
            return "gone", 0.0
        delay = self.schedule.delay(attempt, reply.retry_after, self.random)
        return ("given_up", 0.0) if delay is None else ("waiting", delay)
