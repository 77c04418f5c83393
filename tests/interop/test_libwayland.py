"""A sender and a stage in C, on libwayland: the same broker, without a line of ours at the other end."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from serving.queue import wire
from serving.queue.client import Client
from tests.conftest import BrokerProcess
from tests.interop.test_wayland import need

PROTOCOL = Path(wire.__file__).parent / "protocol.xml"
SOURCE = Path(__file__).parent / "client.c"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")
LARGE = 300_000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, compiled against what the scanner makes of the protocol."""
    folder = tmp_path_factory.mktemp("client")
    for mode, name in (("client-header", "clarion-client-protocol.h"), ("private-code", "clarion-protocol.c")):
        subprocess.run([need("wayland-scanner"), "--strict", mode, PROTOCOL, folder / name], check=True, timeout=20)
    flags = subprocess.run(
        [need("pkg-config"), "--cflags", "--libs", "wayland-client"],
        check=True, capture_output=True, text=True, timeout=20,
    ).stdout.split()  # fmt: skip
    built = subprocess.run(
        [need("gcc"), "-std=gnu11", *WARNINGS, f"-I{folder}", SOURCE, folder / "clarion-protocol.c",
         "-o", folder / "client", *flags],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return folder / "client"


async def run(program: Path, broker: BrokerProcess, what: str, **environment: str) -> subprocess.CompletedProcess[str]:
    def work() -> subprocess.CompletedProcess[str]:
        command = [str(program), str(broker.socket), what]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, env={**os.environ, **environment}, check=False
        )

    return await asyncio.to_thread(work)


def octets(size: int, seed: int) -> int:
    """The sum that the client says of what it sent."""
    total = 0
    for at in range(size):
        total = (total * 31 + (at * 7 + seed) % 256) & 0xFFFFFFFF
    return total


async def test_it_publishes_consumes_and_completes(program: Path, broker: BrokerProcess, client: Client) -> None:
    """Inline, by sealed memfd and through a pool; what C sent comes back to C octet by octet, and is where it says."""
    ended = await run(program, broker, "exchange")
    told = [line.split() for line in ended.stdout.splitlines()]
    ids = {line[1]: line[2] for line in told if line[0] == "notification"}
    bodies = {line[1]: line[2:] for line in told if line[0] == "body"}

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ["limits", "3840", "1"] in told
    assert [line for line in told if line[0] == "accepted"] == [["accepted", str(each), "0"] for each in (1, 2, 3)]
    assert bodies[ids["1"]] == ["inline", "100", str(octets(100, 1))]
    assert bodies[ids["2"]] == ["sealed", str(LARGE), str(octets(LARGE, 2))]
    assert bodies[ids["3"]] == ["pool", str(LARGE), str(octets(LARGE, 3))]
    assert next(line[1] for line in told if line[0] == "lease") == ids["2"]  # urgent first
    assert ["lease", ids["1"], "0", "1", "1", "c", "32", "ada", '{"from":"c"}'] in told
    assert {line[1] for line in told if line[0] == "settled"} == set(ids.values())
    assert "taken 1, credit 259" in ended.stdout
    for id_ in ids.values():
        (row,) = await client.query("notification", id=id_)
        assert (row["stage"], row["state"]) == ("classification", "queued")


async def test_the_same_key_from_c_is_the_same_message(program: Path, broker: BrokerProcess, client: Client) -> None:
    """The first message has a key: a second run is told the first one's id."""
    assert client
    first, second = [await run(program, broker, "exchange") for _ in range(2)]
    one = [line.split()[2] for line in first.stdout.splitlines() if line.startswith("notification 1 ")]
    again = [line.split()[2] for line in second.stdout.splitlines() if line.startswith("notification 1 ")]

    assert one == again
    assert "accepted 1 1" in second.stdout.splitlines()


async def test_a_breach_names_interface_and_code(program: Path, broker: BrokerProcess, client: Client) -> None:
    """wl_display_get_protocol_error is where a C author looks."""
    assert client
    ended = await run(program, broker, "breach")

    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == "error clarion_pool_v1 0 0"
    assert "clarion_pool_v1" in ended.stderr
    await client.query("depths")


async def test_the_trace_is_readable(program: Path, broker: BrokerProcess, client: Client) -> None:
    """WAYLAND_DEBUG is how a protocol is debugged."""
    assert client
    ended = await run(program, broker, "exchange", WAYLAND_DEBUG="1")

    assert '.accept(1, 1, "c", "one", array[0], array[12], array[100])' in ended.stderr
    assert ".complete(" in ended.stderr
    assert "clarion_consumer_v1@" in ended.stderr
