"""libwayland's own tools as judges: the protocol's XML, and the broker as a foreign client sees it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from serving.queue import wire
from serving.queue.client import Client
from tests.conftest import BrokerProcess

QUEUE = Path(wire.__file__).parent
FILES = ("protocol.xml", "wayland.xml")
DTD = Path("/usr/share/wayland/wayland.dtd")
CORE = Path("/usr/share/wayland/wayland.xml")


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program}; see tests/interop/packages.txt")
    return found


@pytest.mark.parametrize("mode", ["client-header", "server-header", "private-code"])
@pytest.mark.parametrize("file", FILES)
def test_the_scanner_takes_the_protocol_strictly(file: str, mode: str, tmp_path: Path) -> None:
    """Whoever writes a client in C begins with this command."""
    command = [need("wayland-scanner"), "--strict", mode, str(QUEUE / file), str(tmp_path / "out")]
    scanned = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert (scanned.returncode, scanned.stderr) == (0, "")
    assert (tmp_path / "out").stat().st_size > 0


@pytest.mark.parametrize("file", FILES)
def test_the_protocol_is_valid_by_waylands_dtd(file: str) -> None:
    """The scanner forgives what other generators do not."""
    if not DTD.exists():
        pytest.skip("no wayland.dtd; see tests/interop/packages.txt")
    command = [need("xmllint"), "--noout", "--nonet", "--dtdvalid", str(DTD), str(QUEUE / file)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_our_part_of_the_core_protocol_is_numbered_as_the_original() -> None:
    """One opcode off, and no foreign client gets beyond its first message."""
    if not CORE.exists():
        pytest.skip("no wayland.xml; see tests/interop/packages.txt")
    ours, theirs = wire.load(QUEUE / "wayland.xml"), wire.load(CORE)

    for name, interface in ours.items():
        for mine, original in ((interface.requests, theirs[name].requests), (interface.events, theirs[name].events)):
            shapes = [(each.name, each.opcode, [arg.type for arg in each.arguments]) for each in mine]
            assert (
                shapes
                == [(each.name, each.opcode, [arg.type for arg in each.arguments]) for each in original][: len(shapes)]
            )
        assert interface.enums == {key: dict(value) for key, value in theirs[name].enums.items()}


async def test_wayland_info_lists_the_global_and_its_trace_is_readable(broker: BrokerProcess, client: Client) -> None:
    """libwayland connects, asks for the registry, and goes in peace."""
    assert client
    environment = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(broker.socket.parent),
        "WAYLAND_DISPLAY": broker.socket.name,
        "WAYLAND_DEBUG": "1",
    }
    told = subprocess.run([need("wayland-info")], env=environment, capture_output=True, text=True, timeout=20)  # noqa: ASYNC221

    assert told.returncode == 0
    assert "interface: 'clarion_manager_v1'" in told.stdout
    assert "version:  1" in told.stdout
    assert 'wl_registry@2.global(1, "clarion_manager_v1", 1)' in told.stderr
    assert (await client.query("depths")) == []
