"""Twenty thousand connections that say anything at all: the broker lives, leaks nothing, and honest mail goes on."""

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.queue import memory
from serving.queue.client import Client
from serving.queue.wire import HEADER, Message, load_clarion
from tests.conftest import BrokerProcess
from tests.integration.peers import submission

CONNECTIONS, SEED, OPEN_AT_ONCE = 20_000, 20261125, 100
PROTOCOL = load_clarion()
REQUESTS = [(name, message) for name, interface in PROTOCOL.items() for message in interface.requests]
OBJECTS = {"wl_display": 1, "wl_registry": 2, "clarion_manager_v1": 3, "clarion_producer_v1": 4}
OBJECTS |= {"clarion_consumer_v1": 5, "clarion_directory_v1": 6, "clarion_pool_v1": 7}
WORDS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 64, 255, 4_096, 65_536, 2**31 - 1, 2**31, 0xFF000000, 2**32 - 1)
TEXTS = ("", "authentication", "delivery", "authenticated", "depths", "wake", "\u00e9" * 40, "x" * 300)
OCTETS = (b"", b"{}", b"[1]", b'{"id": "1"}', b"\xff" * 7, bytes(32), bytes(900))


class Fuzzer:
    """Says half-true things, a connection a call: requests of the protocol with odd values, cut or flipped."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._random = path, random.Random(seed)  # noqa: S311 - replayable, not secret
        self._open: list[socket.socket] = []
        sized = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING)
        os.ftruncate(sized, 1 << 16)
        memory.fix_size(sized)
        self._fds = [sized, memory.share(bytes(9_000)), os.open("/dev/null", os.O_RDWR), os.memfd_create("unsealed")]

    def speak(self) -> None:
        """One connection more; the oldest goes where a hundred are open."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._open.append(sock)
        if len(self._open) > OPEN_AT_ONCE:
            self._open.pop(0).close()
        with contextlib.suppress(OSError):
            sock.connect(str(self._path))
            sock.setblocking(False)
            octets, fds = self._speech()
            socket.send_fds(sock, [octets], fds)

    def close(self) -> None:
        """Everything that it holds."""
        for sock in self._open:
            sock.close()
        for fd in self._fds:
            os.close(fd)

    def _speech(self) -> tuple[bytes, list[int]]:
        draw = self._random
        octets, fds = bytearray(), list[int]()
        for name, request in self._beginning() if draw.random() < 0.8 else ():
            octets += request.encode(OBJECTS[name], self._true(request))[0]
            fds += [self._fds[0]] * sum(argument.type == "fd" for argument in request.arguments)
        for _ in range(draw.randrange(1, 6)):
            name, request = draw.choice(REQUESTS)
            target = OBJECTS.get(name, 8) if draw.random() < 0.9 else draw.choice(WORDS)
            said, more = request.encode(target, [self._value(argument.type) for argument in request.arguments])
            octets, fds = octets + said, fds + more
        fate = draw.random()
        if fate < 0.15:
            octets[draw.randrange(len(octets))] ^= 1 << draw.randrange(8)
        elif fate < 0.3:
            del octets[draw.randrange(1, len(octets)) :]
        elif fate < 0.4:
            octets += draw.randbytes(draw.randrange(1, 200))
        elif fate < 0.5:
            octets = bytearray(HEADER.pack(draw.choice(WORDS), draw.getrandbits(32)) + draw.randbytes(64))
        return bytes(octets), fds[: draw.randrange(8)] if draw.random() < 0.1 else fds[:28]

    def _beginning(self) -> list[tuple[str, Message]]:
        """What an honest client says first, as far as this one gets."""
        manager = PROTOCOL["clarion_manager_v1"]
        whole = [
            ("wl_display", PROTOCOL["wl_display"].request("get_registry")),
            ("wl_registry", PROTOCOL["wl_registry"].request("bind")),
            *(("clarion_manager_v1", manager.request(f"create_{each}")) for each in ("producer", "consumer")),
            *(("clarion_manager_v1", manager.request(f"create_{each}")) for each in ("directory", "pool")),
        ]
        return whole[: self._random.randrange(1, len(whole) + 1)]

    def _true(self, request: Message) -> list[Any]:
        values: dict[str, list[Any]] = {
            "get_registry": [2],
            "bind": [1, "clarion_manager_v1", 1, 3],
            "create_producer": [4],
            "create_consumer": [5, "authentication", 1_000],
            "create_directory": [6],
            "create_pool": [7, self._fds[0], 1 << 16],
        }
        return values[request.name]

    def _value(self, kind: str) -> Any:
        match kind:
            case "int" | "fixed":
                return self._random.choice((0, 1, -1, 2**31 - 1, -(2**31)))
            case "string":
                return self._random.choice(TEXTS)
            case "array":
                return self._random.choice(OCTETS)
            case "fd":
                return self._random.choice(self._fds)
            case _:
                return self._random.choice(WORDS)


def count_fds(broker: BrokerProcess) -> int:
    assert broker.process is not None
    return len(list(Path(f"/proc/{broker.process.pid}/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_twenty_thousand_connections_of_anything_leave_no_trace(
    broker: BrokerProcess, client: Client, eventually: Callable[..., Awaitable[None]]
) -> None:
    """Honest mail is accepted meanwhile, each within two seconds; afterwards no descriptor is left behind."""
    await client.query("depths")  # the reader opens what it keeps
    fuzzer, before = Fuzzer(broker.socket, SEED), count_fds(broker)

    def fuzz() -> None:
        for _ in range(CONNECTIONS):
            fuzzer.speak()

    fuzzing = asyncio.create_task(asyncio.to_thread(fuzz))
    waits: list[float] = []
    while not fuzzing.done():
        started = time.monotonic()
        await client.accept(submission())
        waits.append(time.monotonic() - started)
        await asyncio.sleep(0.02)
    await fuzzing
    fuzzer.close()
    await eventually(lambda: count_fds(broker) <= before)
    accepted = await client.accept(submission("last"))

    assert len(waits) > 20
    assert max(waits) < 2.0
    assert not accepted.duplicate
    assert broker.process is not None
    assert broker.process.poll() is None
