"""The broker's client for asyncio: publish, consume, ask. It reconnects by itself; leases outlive that."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.errors import BrokerUnavailable
from serving.queue import limits
from serving.queue.lease import Lease
from serving.queue.leases import Leases
from serving.queue.link import Link
from serving.queue.questions import Questions
from serving.queue.values import encode


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a message: the keyed hash of the address (32 octets) and the address, sealed."""

    lookup: bytes
    address: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """A message to be accepted. `digest` is a keyed hash of the content: it tells a repetition from a
    conflict.

    `key_each`: the key holds for each recipient by itself, for a week. Those that came before under it answer with
    their first ids, whoever the other recipients are."""

    principal: str
    body: bytes
    recipients: tuple[Recipient, ...]
    key: str | None = None
    digest: bytes = b""
    facts: Mapping[str, Any] = field(default_factory=dict)
    urgent: bool = False
    key_each: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """Durable. The ids are in the recipients' order; `duplicate` when the key had been accepted before."""

    message_id: int
    notification_ids: tuple[int, ...]
    duplicate: bool


class Client:
    """One connection to the broker, shared by everything in a process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._serials = itertools.count(1)
        self._questions = Questions(self._serial)
        self._consumers: set[Leases] = set()
        self._closed = False

    @classmethod
    async def connect(cls, path: Path, *, timeout: float = 10.0) -> "Client":  # noqa: ASYNC109 - part of the contract
        """A client of the broker on that socket; BrokerUnavailable when none answers within `timeout` seconds."""
        client = cls(path)
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            try:
                await client._linked()
            except BrokerUnavailable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return client

    async def close(self) -> None:
        """End the connection; leases that are still held return when this process ends or their time is over."""
        self._closed = True
        if self._link is not None:
            self._link.close()

    async def accept(self, submission: Submission) -> Accepted:
        """Publish; returns after the commit. Refused when the broker says no, BrokerUnavailable when it goes away
        first: then it is unknown whether it was stored, and the same key makes a repetition safe."""
        facts = encode(dict(submission.facts))
        link = await self._linked()
        check(submission, facts, link.max_body)
        await link.use_credit()
        return Accepted(*await self._publish(link, submission, facts))

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a named query. Refused when the broker says no."""
        return await self._questions.together(await self._linked(), name, parameters)

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        """The one row of a named command; what it changed is durable. Refused when the broker says no."""
        (row,) = await self._questions.one(await self._linked(), name, parameters)
        return row

    async def echo(self, octets: bytes) -> bytes:
        """The octets, copied by the broker: a round trip that the store has no part in, for measuring and for health
        checks. Refused `too_large` over half of what the shared memory holds (16 MiB)."""
        return await (await self._linked()).echo(self._serial(), octets)

    async def consume(
        self, stage: str, *, credit: int, visibility: float = 60.0, octets: int | None = None
    ) -> AsyncIterator[Lease]:
        """Leases of that stage, at most `credit` unfinished at once, each for `visibility` seconds unless extended;
        no more of them while the bodies of those have `octets`.

        Goes on over restarts of the broker; Refused when this peer may not consume from the stage.
        """
        leases = Leases(stage, credit, visibility, octets)
        self._consumers.add(leases)
        try:
            while not self._closed:
                with contextlib.suppress(BrokerUnavailable):
                    leases.attach(await self._linked())
                    async for lease in leases:
                        yield lease
                await asyncio.sleep(0.1)
        finally:
            self._consumers.discard(leases)
            leases.detach()

    async def _linked(self) -> Link:
        async with self._connecting:
            if self._closed:
                raise BrokerUnavailable("this client is closed")
            if self._link is None or self._link.is_closed:
                self._link = await Link.open(self._path)
            if self._closed:
                self._link.close()
            return self._link

    def _serial(self) -> int:
        return next(self._serials) & 0xFFFFFFFF

    def _publish(self, link: Link, submission: Submission, facts: bytes) -> "asyncio.Future[Any]":
        """Send all of it or end the connection: recipients that stay behind would get somebody else's mail."""
        serial = self._serial()
        answer = link.expect(serial)
        try:
            for recipient in submission.recipients:
                link.request("producer", "recipient", recipient.lookup, recipient.address)
            if submission.key_each:
                link.request("producer", "key_each")
            link.request_with_body("producer", "accept", *head(serial, submission, facts), body=submission.body)
        except BaseException:
            link.close()
            raise
        return answer


def head(serial: int, submission: Submission, facts: bytes) -> tuple[int, int, str, str | None, bytes, bytes]:
    """What an `accept` request says before the body."""
    priority = 0 if submission.urgent else 1
    return serial, priority, submission.principal, submission.key, submission.digest, facts


def check(submission: Submission, facts: bytes, max_body: int) -> None:
    """Refused `malformed` or `too_large` where the broker would refuse it."""
    limits.check_origin(submission.principal, submission.key, submission.digest)
    limits.check_size(len(submission.recipients), limits.MAX_RECIPIENTS, "a list of recipients")
    for recipient in submission.recipients:
        limits.check_recipient(recipient.lookup, recipient.address)
    limits.check_size(len(facts), limits.MAX_FACTS, "facts")
    limits.check_size(len(submission.body), max_body, "a body")


def reachable(path: Path) -> bool:
    """Whether a broker takes connections on that socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
