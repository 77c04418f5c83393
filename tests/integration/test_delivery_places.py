"""Connections and places of delivery: how many there are, which server is spoken to, and what finds none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from serving.delivery import lanes
from serving.delivery.connections import Connections
from serving.delivery.routes import NoRoute, Server, Smarthost
from serving.delivery.schedule import Schedule
from serving.delivery.stage import Delivery
from serving.errors import Temporary
from serving.pipeline import Undeliverable
from tests.integration.receivers import Receiver, listening
from tests.integration.test_delivery import KEY, History, work


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as receiver:
        yield receiver


async def test_a_connection_ends_after_so_many_mails(receiver: Receiver) -> None:
    """Receivers cut off who never stops, sometimes in the middle of a mail."""
    stage = Delivery(
        KEY, Smarthost("127.0.0.1", receiver.port, "x.example"), expiry=9.0, random=Random(1), mails=2  # noqa: S311
    )  # fmt: skip
    for _ in range(5):
        await stage.handle(work(History(receiver.events)))
    await stage.close()

    assert len(receiver.servers) == 3
    assert len(receiver.kept) == 5


async def test_idle_connections_are_few_over_all_destinations() -> None:
    """A thousand domains must not keep a thousand connections open; the one that is idle longest goes first."""
    async with AsyncExitStack() as stack:
        receivers = [await stack.enter_async_context(listening(Receiver())) for _ in range(3)]
        servers = [Server("127.0.0.1", each.port, "x.example") for each in receivers]
        connections = Connections("clarion.example", timeout=5.0, keep=2)
        for server in (*servers, servers[1]):
            async with connections.borrow([server]):
                pass

        assert connections.idle == 2
        assert [len(each.servers) for each in receivers] == [1, 1, 1]
        async with connections.borrow([servers[0]]):
            pass
        assert len(receivers[0].servers) == 2
        await connections.close()


async def test_the_next_server_is_tried_where_the_first_is_away_or_does_not_want_us(receiver: Receiver) -> None:
    """RFC 5321 section 5.1: a second MX is there for such days."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"421 4.3.2 not today\r\n")
        writer.close()

    busy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with listening(Receiver()) as gone:
        ports = [gone.port, busy.sockets[0].getsockname()[1], receiver.port]
    servers = [Server("127.0.0.1", port, "mx.example", preference=number) for number, port in enumerate(ports)]
    connections = Connections("clarion.example", timeout=5.0, keep=2)
    async with connections.borrow(servers) as smtp:
        assert smtp.port == receiver.port
    with pytest.raises(ConnectionError, match=r"421 4\.3\.2 not today"):
        async with connections.borrow(servers[:2]):
            pass

    await connections.close()
    busy.close()


async def test_what_found_no_place_is_not_counted_as_tried_and_runs_out_of_time_all_the_same(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Awaitable[None]]
) -> None:
    """Else the schedule of a mail would wait for hours because others were in its way; or it would wait for ever."""
    monkeypatch.setattr(lanes, "PATIENCE", 0.01)
    now = [1000.0]
    stage = Delivery(
        KEY,
        Smarthost("127.0.0.1", receiver.port, "x.example"),
        expiry=3600.0,
        random=Random(1),  # noqa: S311
        schedule=Schedule(first=10.0, jitter=0.0),
        connections=1,
        timeout=30.0,
        clock=lambda: now[0],
        monotonic=lambda: now[0],
    )
    blocked = asyncio.Event()

    async def block(_: Receiver, __: SMTP) -> str:
        await blocked.wait()
        return "550 5.1.1 unknown"

    receiver.at_rcpt = [block]
    first = asyncio.create_task(stage.handle(work(History(receiver.events))))
    await eventually(lambda: receiver.events)
    now[0] += 300.0
    history = History(receiver.events)
    with pytest.raises(Temporary, match="is taking other mail") as turned_away:
        await stage.handle(work(history, attempt=7))
    told = []
    for attempt in range(1, 17):
        with pytest.raises(Temporary) as again:
            await stage.handle(work(history, attempt=attempt))
        told += [attempt] * again.value.is_told
    now[0] += 3600.0
    ended = await stage.handle(work(history, attempt=8))
    blocked.set()
    await first
    await stage.close()

    assert 100 <= (turned_away.value.retry_after or 0) <= 300
    assert not turned_away.value.is_outage
    assert told == [1, 2, 4, 8, 16]  # days of it are a few lines of its history
    assert history.facts == {"failing": {"since": 1300.0, "tries": 0}}
    assert ended == Undeliverable("tried for 3600 s; last: its destination is taking other mail, or hangs")


class Nowhere(Smarthost):
    """A router that knows no server: `said` is why."""

    said: NoRoute | Temporary

    async def servers(self, _: str) -> Any:
        if isinstance(self.said, Temporary):
            raise self.said
        return self.said


@pytest.mark.parametrize("said", [NoRoute("550 5.1.2 no such domain"), Temporary("the DNS does not answer")])
async def test_where_no_server_is_known_it_waits_on_its_schedule_or_ends(said: NoRoute | Temporary) -> None:
    """A silent DNS must not be asked for ever by the same mail, and no domain is no reason to try for five days."""
    router = Nowhere("127.0.0.1", 9, "x.example")
    object.__setattr__(router, "said", said)
    history = History([])
    stage = Delivery(KEY, router, expiry=60.0, random=Random(1), schedule=Schedule(first=10.0, jitter=0.0))  # noqa: S311

    if isinstance(said, NoRoute):
        assert await stage.handle(work(history)) == Undeliverable("550 5.1.2 no such domain")
        return
    with pytest.raises(Temporary) as waiting:
        await stage.handle(work(history))
    assert waiting.value.retry_after == 10.0
    assert history.facts["failing"]["tries"] == 1
