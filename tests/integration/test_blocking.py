"""The client without asyncio: the same broker, the same answers."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.errors import BrokerUnavailable, Refused
from serving.queue import memory
from serving.queue.blocking import BlockingClient
from serving.queue.client import Client
from serving.queue.limits import MAX_RECIPIENTS
from tests.conftest import BrokerProcess
from tests.integration.peers import submission


@pytest.fixture
def blocking(broker: BrokerProcess, client: Client) -> Iterator[BlockingClient]:
    """Connected; the broker answers, as `client` has seen."""
    assert client
    with BlockingClient(broker.socket) as made:
        yield made


@pytest.mark.parametrize("size", [0, memory.MAX_INLINE, memory.MAX_INLINE + 1, 1 << 20, 20 << 20])
async def test_what_it_publishes_arrives(blocking: BlockingClient, client: Client, size: int) -> None:
    """Inline, through the pool, and by memfd where the pool is too small."""
    body = os.urandom(size)
    accepted = blocking.accept(submission(body=body, recipients=2))
    async for lease in client.consume("authentication", credit=1):
        assert lease.body == body
        assert lease.id in accepted.notification_ids
        break

    assert len(accepted.notification_ids) == 2


def test_a_repetition_and_a_conflict_are_told_apart(blocking: BlockingClient) -> None:
    """As the other client does it."""
    first, again = blocking.accept(submission("k")), blocking.accept(submission("k"))

    assert again.duplicate
    assert again.notification_ids == first.notification_ids
    with pytest.raises(Refused, match="key_conflict"):
        blocking.accept(submission("k", digest=b"other"))
    with pytest.raises(Refused, match="unknown_statement"):
        blocking.query("nothing")


def test_long_answers_come_whole(blocking: BlockingClient) -> None:
    """By memfd: more than one message holds."""
    accepted = blocking.accept(submission(recipients=200))
    rows = blocking.query("peek", stage="authentication", limit=200)

    assert {int(row["id"]) for row in rows} == set(accepted.notification_ids)


@pytest.mark.parametrize("size", [0, 1, 1 << 16, 8 << 20])
async def test_echo_brings_back_what_was_sent(blocking: BlockingClient, client: Client, size: int) -> None:
    """Both clients, again and again in the same memory."""
    for _ in range(3):
        octets = os.urandom(size)
        assert blocking.echo(octets) == octets
        assert await client.echo(octets) == octets
    with pytest.raises(Refused, match="too_large"):
        blocking.echo(bytes(9 << 20))
    with pytest.raises(Refused, match="too_large"):
        await client.echo(bytes(9 << 20))


def test_a_broker_that_goes_away_is_said(broker: BrokerProcess, blocking: BlockingClient) -> None:
    """And one that never was, too."""
    broker.kill()

    with pytest.raises(BrokerUnavailable):
        blocking.query("depths")
    with pytest.raises(BrokerUnavailable, match="no broker answers"):
        BlockingClient(Path("/nowhere"))


@contextmanager
def asleep(broker: BrokerProcess) -> Iterator[None]:
    """The broker is there and does nothing."""
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        broker.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("which", ["blocking", "asyncio"])
async def test_an_echo_that_nobody_waits_for_spoils_no_body(broker: BrokerProcess, client: Client, which: str) -> None:
    """What comes back late must not be written where a message lies by then."""
    octets, body = bytes(1 << 20), os.urandom(3 << 20)
    with BlockingClient(broker.socket, timeout=0.2) as hasty:
        with asleep(broker):
            if which == "blocking":
                for late in (lambda: hasty.echo(octets), lambda: hasty.accept(submission(body=body))):
                    with pytest.raises(BrokerUnavailable, match="does not answer"):
                        late()
            else:
                echoing = asyncio.create_task(client.echo(octets))
                await asyncio.sleep(0.05)
                echoing.cancel()
                accepting = asyncio.create_task(client.accept(submission(body=body)))
                await asyncio.sleep(0.05)
        if which == "asyncio":
            await accepting
        async for lease in client.consume("authentication", credit=1):
            assert lease.body == body
            break


async def test_a_message_that_was_half_sent_leaves_nothing_behind(broker: BrokerProcess, client: Client) -> None:
    """Its recipients would get the next message."""
    with BlockingClient(broker.socket, timeout=0.2) as hasty:
        with asleep(broker), pytest.raises(BrokerUnavailable, match="went away"):
            hasty.accept(submission(recipients=MAX_RECIPIENTS))
        with pytest.raises(BrokerUnavailable):
            hasty.accept(submission(recipients=1))

    assert await client.query("depths") == []


def test_it_leaves_no_descriptor(broker: BrokerProcess, blocking: BlockingClient) -> None:
    """A script may connect a thousand times."""
    assert blocking
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with BlockingClient(broker.socket) as each:
            each.accept(submission(body=bytes(30_000)))

    assert len(list(Path("/proc/self/fd").iterdir())) == before
