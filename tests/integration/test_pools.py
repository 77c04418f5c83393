"""Large bodies through shared memory: the same octets, used again, and nothing that the other side can break."""

import asyncio
import mmap
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.queue import memory
from serving.queue.client import Client
from serving.queue.pool import MAX_POOL, MAX_POOLS
from tests.conftest import BrokerProcess
from tests.integration.peers import Raw, submission

Eventually = Callable[..., Awaitable[None]]
SIZE = 1 << 20
POOL, PRODUCER, CONSUMER, DIRECTORY = 9, 4, 5, 6


def sized(size: int = SIZE) -> int:
    fd = os.memfd_create("pool", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    memory.fix_size(fd)
    return fd


def fds(broker: BrokerProcess) -> int:
    assert broker.process is not None
    return len(list(Path(f"/proc/{broker.process.pid}/fd").iterdir()))


class Pooled:
    """A raw client with a pool at 9, a producer at 4, a consumer at 5 and a directory at 6."""

    def __init__(self, path: Path) -> None:
        self.raw = Raw(path).bind()
        self.raw.make("producer", PRODUCER).make("consumer", CONSUMER, "authentication", 60_000)
        self.raw.make("directory", DIRECTORY)
        fd = sized()
        self.memory = mmap.mmap(fd, SIZE)
        self.raw.make("pool", POOL, fd, SIZE)
        self.raw.send(POOL, "echo", 0, 0, 0, 0)
        self.raw.wait("echoed")  # the broker has everything

    def accept(self, offset: int, size: int, *, pool: int = POOL) -> None:
        """A message whose body lies there."""
        self.raw.send(PRODUCER, "recipient", bytes(32), b"address")
        self.raw.send(PRODUCER, "accept_pool", 7, 1, "sender", None, b"", b"{}", pool, offset, size)


@pytest.fixture
async def pooled(broker: BrokerProcess, client: Client) -> Pooled:
    assert client
    return await asyncio.to_thread(Pooled, broker.socket)


@pytest.mark.parametrize("size", [memory.MAX_INLINE, memory.MAX_INLINE + 1, SIZE, 20 << 20])
async def test_a_body_arrives_as_it_was_sent(client: Client, size: int) -> None:
    """Inline, through the pool, and by memfd where it is larger than the pool; the mail that goes on too."""
    body = os.urandom(1 << 12) * (size >> 12) + os.urandom(size & 0xFFF)
    accepted = await client.accept(submission(body=body))
    async for lease in client.consume("authentication", credit=1):
        assert (lease.message_id, lease.body) == (accepted.message_id, body)
        break


async def test_many_large_bodies_at_once_are_each_their_own(client: Client) -> None:
    """More than the pool has room for: some go through it, the others by memfd, none in another's place."""
    bodies = {bytes([at]) * (1 << 20) for at in range(40)}
    await asyncio.gather(*(client.accept(submission(body=body)) for body in bodies))
    seen = set()
    async for lease in client.consume("authentication", credit=40):
        seen.add(lease.body)
        await lease.dead("seen")
        if len(seen) == len(bodies):
            break

    assert seen == bodies


async def test_the_broker_keeps_its_own_copy(client: Client, pooled: Pooled) -> None:
    """Shared memory can change at any time: what was accepted must not."""
    pooled.memory[100:5_100] = b"first" * 1_000
    pooled.accept(100, 5_000)
    (offset,) = await asyncio.to_thread(pooled.raw.wait, "taken")
    pooled.memory[100:5_100] = b"later" * 1_000
    await asyncio.to_thread(pooled.raw.wait, "accepted")
    pooled.raw.close()
    async for lease in client.consume("authentication", credit=1):
        assert (offset, lease.body) == (100, b"first" * 1_000)
        break


async def test_echo_goes_there_and_back(pooled: Pooled) -> None:
    """What the benchmark measures is the whole way."""
    pooled.memory[0:4] = b"ping"
    pooled.raw.send(POOL, "echo", 3, 0, 4, 1_000)
    (serial,) = await asyncio.to_thread(pooled.raw.wait, "echoed")
    pooled.raw.close()

    assert (serial, pooled.memory[1_000:1_004]) == (3, b"ping")


async def test_a_region_that_was_released_carries_the_next_body(client: Client, pooled: Pooled) -> None:
    """Memory that is used again is the point; the third body has to go by memfd while both regions are out."""
    raw, size = pooled.raw, 400_000
    raw.send(CONSUMER, "use_pool", POOL)
    for letter in (b"a", b"b", b"c", b"d"):
        await client.accept(submission(body=letter * size))
    places, seen = [], []
    raw.send(CONSUMER, "grant", 3)
    for _ in range(2):
        *_, offset, length = await asyncio.to_thread(raw.wait, "body_pool")
        places.append(offset)
        seen.append(pooled.memory[offset : offset + length])
    await asyncio.to_thread(raw.wait, "body_fd")
    raw.send(CONSUMER, "release", places[0])
    raw.send(CONSUMER, "grant", 1)
    *_, offset, length = await asyncio.to_thread(raw.wait, "body_pool")
    seen.append(pooled.memory[offset : offset + length])
    raw.close()

    assert offset == places[0]
    assert seen == [b"a" * size, b"b" * size, b"d" * size]


BREACHES: dict[str, tuple[int, int, Callable[[Pooled], Any]]] = {
    "out of bounds": (POOL, 0, lambda p: p.accept(SIZE - 10, 11)),
    "offset and size beyond 32 bits": (POOL, 0, lambda p: p.accept(2**32 - 1, 2**32 - 1)),
    "echo out of bounds": (POOL, 0, lambda p: p.raw.send(POOL, "echo", 1, 0, 10, SIZE)),
    "no such pool": (1, 0, lambda p: p.accept(0, 10, pool=77)),
    "an object of another kind": (1, 0, lambda p: p.accept(0, 10, pool=DIRECTORY)),
    "no object": (1, 0, lambda p: p.accept(0, 10, pool=0)),
    "released twice": (CONSUMER, 3, lambda p: p.raw.send(CONSUMER, "release", 0)),
    "too large": (3, 1, lambda p: p.raw.make("pool", 20, sized(MAX_POOL + 1), MAX_POOL + 1)),
    "size lies": (3, 1, lambda p: p.raw.make("pool", 20, sized(), SIZE - 1)),
    "seals missing": (3, 1, lambda p: p.raw.make("pool", 20, os.memfd_create("x", os.MFD_ALLOW_SEALING), 0)),
    "no memfd": (3, 1, lambda p: p.raw.make("pool", 20, os.open("/dev/zero", os.O_RDWR), SIZE)),
    "id in use": (1, 0, lambda p: p.raw.make("pool", DIRECTORY, sized(), SIZE)),
    "too many": (3, 0, lambda p: [p.raw.make("pool", 30 + at, sized(), SIZE) for at in range(MAX_POOLS)]),
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_a_breach_is_named_and_leaves_no_descriptor(
    broker: BrokerProcess, client: Client, pooled: Pooled, eventually: Eventually, breach: str
) -> None:
    """Shared memory is the widest door to the broker; whoever pushes it ends alone."""
    object_id, code, break_it = BREACHES[breach]
    before = fds(broker)
    break_it(pooled)
    error = await asyncio.to_thread(pooled.raw.wait, "error")
    await asyncio.to_thread(pooled.raw.wait_over)
    pooled.raw.close()
    await eventually(lambda: fds(broker) < before)

    assert (error[0], error[1]) == (object_id, code)
    await client.accept(submission())


async def test_a_pool_that_was_destroyed_is_no_longer_written_to(
    broker: BrokerProcess, client: Client, pooled: Pooled
) -> None:
    """Its descriptor's number may be somebody else's by then."""
    raw = pooled.raw
    raw.send(CONSUMER, "use_pool", POOL)
    raw.send(POOL, "destroy")
    await client.accept(submission(body=b"x" * 9_000))
    raw.send(CONSUMER, "grant", 1)
    *_, size = await asyncio.to_thread(raw.wait, "body_fd")
    raw.close()

    assert size == 9_000
    assert broker.process is not None
