"""Who breaks the protocol, floods, or never reads ends its own connection; broker and honest clients notice nothing."""

import asyncio
import contextlib
import json
import math
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.queue import memory
from serving.queue.client import Client
from serving.queue.resource import join, pack_leases
from serving.queue.store.history import RECORD
from serving.queue.wire import HEADER
from tests.conftest import BrokerProcess
from tests.integration.peers import Raw, submission

Eventually = Callable[..., Awaitable[None]]
BODY = memory.MAX_INLINE + 1


def fds(broker: BrokerProcess) -> int:
    assert broker.process is not None
    return len(list(Path(f"/proc/{broker.process.pid}/fd").iterdir()))


@pytest.fixture
async def raw(broker: BrokerProcess, client: Client) -> Raw:
    """Bound, with a producer at 4, a consumer at 5 and a directory at 6. The broker answers, as `client` has seen."""
    assert client
    made = Raw(broker.socket).bind()
    made.make("producer", 4).make("consumer", 5, "authentication", 60_000).make("directory", 6)
    await asyncio.to_thread(made.wait, "credit")
    return made


def accept_fd(raw: Raw, fd: int, size: int) -> None:
    raw.send(4, "recipient", bytes(32), b"address")
    raw.send(4, "accept_fd", 7, 1, "sender", None, b"", b"{}", fd, size)


def unsealed() -> int:
    fd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(fd, bytes(BODY))
    return fd


def octets(object_id: int, opcode: int, payload: bytes = b"") -> bytes:
    return HEADER.pack(object_id, 8 + len(payload) << 16 | opcode) + payload


def repeat(count: int, act: Callable[[int], None]) -> None:
    for number in range(count):
        act(number)


def overdraw(raw: Raw) -> None:
    """More messages at once than there is credit for: answers cannot come between."""
    recipient, _ = raw.PROTOCOL["clarion_producer_v1"].request("recipient").encode(4, [bytes(32), b"a"])
    accept, _ = raw.PROTOCOL["clarion_producer_v1"].request("accept").encode(4, [1, 1, "p", None, b"", b"{}", b""])
    raw.socket.sendall((recipient + accept) * 400)


BREACHES: dict[str, tuple[int, int, Callable[[Raw], Any]]] = {
    "unknown object": (1, 0, lambda raw: raw.socket.send(octets(99, 0))),
    "unknown request": (1, 1, lambda raw: raw.socket.send(octets(4, 77))),
    "argument cut": (1, 1, lambda raw: raw.socket.send(octets(5, 1))),
    "descriptor missing": (1, 1, lambda raw: raw.socket.send(octets(6, 2, bytes(16)))),
    "size that cannot be": (1, 0, lambda raw: raw.socket.send(HEADER.pack(1, 3 << 16))),
    "id in use": (1, 0, lambda raw: raw.send(3, "create_producer", 4)),
    "id of the server's": (1, 0, lambda raw: raw.send(3, "create_producer", 0xFF000001)),
    "too many objects": (1, 2, lambda raw: repeat(100, lambda i: raw.send(3, "create_directory", 100 + i))),
    "newer version": (1, 0, lambda raw: raw.send(2, "bind", 1, "clarion_manager_v1", 9, 50)),
    "other global": (1, 0, lambda raw: raw.send(2, "bind", 2, "wl_compositor", 1, 50)),
    "no credit": (4, 0, overdraw),
    "seals missing": (4, 1, lambda raw: accept_fd(raw, unsealed(), BODY)),
    "size lies": (4, 1, lambda raw: accept_fd(raw, memory.share(bytes(BODY)), BODY + 1)),
    "no memfd": (4, 1, lambda raw: accept_fd(raw, os.open("/dev/null", os.O_RDONLY), 5)),
    "credit over the limit": (5, 0, lambda raw: raw.send(5, "grant", 5000)),
    "seen at no time": (5, 2, lambda raw: raw.send(5, "observe", 0, 1, RECORD.pack(bytes(32), 1, math.nan, 0), b"")),
    "question without seals": (6, 0, lambda raw: raw.send(6, "ask_fd", 1, "depths", unsealed(), BODY)),
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_a_breach_is_named_and_ends_only_its_own_connection(
    broker: BrokerProcess, client: Client, raw: Raw, eventually: Eventually, breach: str
) -> None:
    """A C client's author sees the object and the code; everybody else sees nothing."""
    object_id, code, break_it = BREACHES[breach]
    before = fds(broker)
    with contextlib.suppress(ConnectionError):
        break_it(raw)
    error = await asyncio.to_thread(raw.wait, "error")
    await asyncio.to_thread(raw.wait_over)
    raw.close()
    await eventually(lambda: fds(broker) < before)

    assert (error[0], error[1]) == (object_id, code)
    assert error[2]
    await client.accept(submission())


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        ("too_large", (b"a" * 600, memory.share, (26 << 20) + 1)),
        ("too_large", (b"a" * 600, memory.share, BODY)),
        ("malformed", (None, memory.share, BODY)),
    ],
)
async def test_a_message_that_cannot_be_stored_is_rejected_and_the_connection_goes_on(
    raw: Raw, reason: str, values: tuple[bytes | None, Callable[[bytes], int], int]
) -> None:
    """A limit is no breach: the sender may have honest mail as well."""
    address, share, size = values
    if address is not None:
        raw.send(4, "recipient", bytes(32), address)
    raw.send(4, "accept_fd", 7, 1, "sender", None, b"", b"{}", share(bytes(size)), size)
    rejected = await asyncio.to_thread(raw.wait, "rejected")
    accept_fd(raw, memory.share(bytes(BODY)), BODY)
    accepted = await asyncio.to_thread(raw.wait, "accepted")
    raw.close()

    assert rejected[:2] == [7, raw.PROTOCOL["clarion_manager_v1"].enums["reason"][reason]]
    assert accepted[0] == 7


async def test_a_worker_gets_as_many_leases_as_it_asked_for(client: Client, raw: Raw) -> None:
    """Credit is the only thing between a stage and everything that waits."""
    await client.accept(submission(recipients=9))
    raw.send(5, "grant", 2)
    for _ in range(2):
        await asyncio.to_thread(raw.wait, "lease")
    with pytest.raises(AssertionError, match="no lease"):
        await asyncio.to_thread(raw.wait, "lease", 1.0)
    raw.close()


@pytest.mark.parametrize("completes", [True, False])
async def test_what_is_being_completed_leaves_room_for_credit(client: Client, raw: Raw, completes: bool) -> None:
    """Credit goes with the hop; without one it is more than a worker may have."""
    await client.accept(submission(recipients=3))
    raw.send(5, "grant", 1024)
    leases = [await asyncio.to_thread(raw.wait, "lease") for _ in range(3)]
    if completes:
        named = pack_leases([(join(high, low), fence) for high, low, fence, *_ in leases])
        raw.send(5, "complete", named, "authenticated", 0, 0)
    raw.send(5, "grant", 3)
    if completes:
        await asyncio.to_thread(raw.wait, "settled")
        raw.close()
    else:
        await asyncio.to_thread(raw.wait_over)

    assert any(name == "error" for _, name, _ in raw.events) is not completes


async def test_a_stage_that_there_is_not_is_closed(raw: Raw) -> None:
    """A typing error must not look like an empty queue."""
    raw.make("consumer", 9, "delivrey", 1000)
    (reason,) = await asyncio.to_thread(raw.wait, "closed")
    raw.close()

    assert reason == raw.PROTOCOL["clarion_manager_v1"].enums["reason"]["unknown_stage"]


@pytest.mark.parametrize(("size", "most_leases"), [(3600, 400), (BODY, 1024)])
async def test_a_worker_that_never_reads_holds_few_leases_and_few_descriptors(
    broker: BrokerProcess, client: Client, raw: Raw, size: int, most_leases: int
) -> None:
    """What it was not sent yet must be there for others, and descriptors are everybody's."""
    before = fds(broker)
    await asyncio.gather(*(client.accept(submission(body=bytes(size), recipients=50)) for _ in range(30)))
    raw.send(5, "grant", 1024)
    await asyncio.sleep(1.0)
    held = fds(broker) - before
    leased = sum(row["count"] for row in await client.query("depths") if row["state"] == "leased")
    leases = client.consume("authentication", credit=200)
    got = [await asyncio.wait_for(anext(leases), 5.0) for _ in range(200)]
    raw.close()

    assert len({lease.id for lease in got}) == 200
    assert 0 < leased <= most_leases
    assert held < 300


@pytest.mark.parametrize("at_once", [1, 40], ids=["each alone", "many at once"])
async def test_a_flood_of_questions_does_not_keep_honest_mail_waiting(client: Client, raw: Raw, at_once: int) -> None:
    """The flooder is not read while too much of it is outstanding; many questions at once count as many."""
    accepted = await client.accept(submission(recipients=30))
    question = {"id": str(accepted.message_id)}
    parameters = json.dumps(question if at_once == 1 else [question] * at_once).encode()

    def flood() -> None:
        raw.socket.settimeout(1.0)
        with contextlib.suppress(OSError):
            for serial in range(15_000):
                raw.send(6, "ask", serial, "message", parameters)

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    slowest = 0.0
    for _ in range(20):
        started = time.monotonic()
        await client.accept(submission())
        slowest = max(slowest, time.monotonic() - started)
        await asyncio.sleep(0.05)
    await flooding
    raw.close()

    assert slowest < 1.0
