"""Destinations that take connections and then hang: an urgent mail for another one is not behind them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from nacl.public import PrivateKey

from serving.delivery.exchangers import Exchangers
from serving.delivery.names import Exchanger
from serving.delivery.stage import Delivery
from serving.pipeline import Authenticated, EnclosedFree, Outcome, Stage, Urgent
from serving.queue.client import Client
from serving.sealing import UnsealingKey
from serving.stage import Handler, Work, serve
from serving.values import OpenByPolicy, Prediction
from tests.conftest import BrokerProcess
from tests.integration.peers import Store, submission

KEY = UnsealingKey(bytes(PrivateKey.generate()))
HANGING = ("one.example", "two.example", "three.example")
MAILS = 1500
PLACES = 64


def envelope(domain: str) -> bytes:
    head = {"mail_from": "a@clarion.example", "rcpt_to": f"bob@{domain}", "message_id": "<7@clarion.example>"}
    return KEY.sealing_key.seal(json.dumps(head).encode() + b"\nSubject: x\r\n\r\nx\r\n")


class Hanging:
    """Takes connections, greets, and says nothing more; counts those that are open."""

    def __init__(self) -> None:
        self.open = self.most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        writer.write(b"220 hanging.example\r\n")
        while await reader.read(1000):
            pass
        self.open -= 1
        writer.close()


class Quick:
    """Takes mail, and notes for whom."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        self.kept += envelope.rcpt_tos
        return "250 2.0.0 ok"


class Loopback:
    """Every domain has one MX; the hanging ones' is another address of this machine."""

    async def exchangers(self, domain: str, /) -> tuple[Exchanger, ...]:
        return (Exchanger(10, f"mx.{domain}"),)

    async def addresses(self, host: str, /) -> tuple[str, ...]:
        return ("127.0.0.2",) if host.removeprefix("mx.") in HANGING else ("127.0.0.1",)


@pytest.fixture
def loaded() -> Iterator[BrokerProcess]:
    """A broker whose store holds thousands of mails at delivery, all for those that hang."""
    with TemporaryDirectory(prefix="clarion-") as folder:
        process = BrokerProcess(Path(folder))
        fill(process.store)
        process.start()
        yield process
        process.stop()


def fill(path: Path) -> None:
    store = Store(path)
    for domain in HANGING:
        ids, body = store.accept(recipients=MAILS).notifications, envelope(domain)
        store.do(lambda t, ids=ids, body=body: [t.run("insert_envelope", id=id_, body=body) for id_ in ids])  # type: ignore[misc]
    store.sql("UPDATE notification SET stage = 'delivery', available_at = available_at - id % 997")  # all mixed
    store.close()


@asynccontextmanager
async def world(hanging: Hanging, quick: Quick) -> AsyncIterator[int]:
    """One port of two addresses: behind one the mail hangs, behind the other it is taken."""
    loop = asyncio.get_running_loop()
    slow = await asyncio.start_server(hanging.serve, "127.0.0.2", 0)
    port = slow.sockets[0].getsockname()[1]
    fast = await loop.create_server(lambda: SMTP(quick, hostname="quick.example", loop=loop), "127.0.0.1", port)
    try:
        yield port
    finally:
        slow.close()
        fast.close()


async def authenticate(_: Work) -> Outcome:
    return Authenticated("api_key")


async def classify(_: Work) -> Outcome:
    return Urgent(Prediction("urgent", 0.9, None, False, "1"), None)


async def encrypt(_: Work) -> Outcome:
    return EnclosedFree(OpenByPolicy(envelope("four.example"), "recipient"), "life_safety")


async def test_urgent_mail_goes_at_once_while_thousands_hang(
    loaded: BrokerProcess, eventually: Callable[..., Awaitable[None]]
) -> None:
    """No place is free for long where somebody else's server can keep them all; and what is turned away does not
    fill the history with its turns."""
    hanging, quick = Hanging(), Quick()
    async with world(hanging, quick) as port, asyncio.timeout(100):
        client = await Client.connect(loaded.socket)
        routes = Exchangers("clarion.example", Loopback(), Random(1), port=port, is_alone=False)  # noqa: S311
        delivery = Delivery(KEY, routes, expiry=9e5, random=Random(1), places=PLACES, timeout=300.0)  # noqa: S311
        handlers: Mapping[Stage, tuple[Handler, int]] = {
            Stage.AUTHENTICATION: (authenticate, 8),
            Stage.CLASSIFICATION: (classify, 8),
            Stage.ENCRYPTION: (encrypt, 8),
            Stage.DELIVERY: (delivery.handle, PLACES),
        }
        tasks = [
            asyncio.create_task(serve(stage, client, handle, concurrency=concurrency))
            for stage, (handle, concurrency) in handlers.items()
        ]
        await eventually(lambda: hanging.open >= 2 * len(HANGING), within=60.0)
        await client.accept(submission())
        await eventually(lambda: quick.kept, within=60.0)
        still_hanging, most = hanging.open, hanging.most
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await delivery.close()
        await client.close()
    loaded.stop()
    turns = events(loaded.store)

    assert quick.kept == ["bob@four.example"]
    assert still_hanging == most == 2 * len(HANGING)
    assert max(turns.values()) <= 20


def events(path: Path) -> dict[int, int]:
    """How often each notification went back to the queue."""
    store = Store(path)
    rows: list[Any] = store.sql("SELECT notification, count(*) AS n FROM event WHERE kind = 'retried' GROUP BY 1")
    store.close()
    return {row["notification"]: row["n"] for row in rows}
