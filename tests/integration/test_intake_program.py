"""The intake as a program: two processes share a port, each ends in order; a wrong set-up is one line."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from serving.demo.running import free_ports
from serving.enrolment import Registrar
from serving.keyring import load_sealing
from serving.programs import intakes
from serving.queue.client import Client
from serving.sealing import create_keys, load_lookup
from serving.settings import Settings
from tests.conftest import BrokerProcess
from tests.intakes import Dialogue

ADA = "ada@example.net"


@pytest.fixture
def settings(broker: BrokerProcess) -> Settings:
    """Of a home whose broker runs."""
    home = broker.socket.parent
    (home / "run").mkdir()
    (home / "run" / "broker.sock").symlink_to(broker.socket)
    create_keys(home / "keys")
    (port,) = free_ports(1)
    return Settings(home=home, mail_from="clarion@gate.example", intake_port=port)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that takes mail."""
    (program,) = intakes(settings)
    process = await asyncio.create_subprocess_exec(
        *program.command, env={**os.environ, **program.environment}, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert (await asyncio.wait_for(process.stdout.readline(), 30.0)).startswith(b"intake on 127.0.0.1:")
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 20.0)


async def test_two_processes_share_the_port_and_end_in_order(settings: Settings, client: Client) -> None:
    """One may be restarted while the other takes mail; the key's use is written down at the end."""
    registrar = Registrar(client, load_sealing(settings.keys, "content"), load_lookup(settings.keys))
    key = await registrar.principal("ops", "Ops", ["example.org"], {})
    async with AsyncExitStack() as processes:
        first, second = [await processes.enter_async_context(running(settings)) for _ in range(2)]
        async with AsyncExitStack() as talks:
            together = [await talks.enter_async_context(Dialogue(settings.intake_port)) for _ in range(8)]
            replies = [(await talk.log_in(key))[:3] for talk in together]
            mails = [(await talk.mail(ADA, mail=b"x: %d\r\n\r\n" % number))[:3] for number, talk in enumerate(together)]
            first.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.wait(), 20.0) == 0
        async with Dialogue(settings.intake_port) as talk:
            await talk.log_in(key)
            assert (await talk.mail(ADA)).startswith("250")
        second.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(second.wait(), 20.0) == 0
    (row,) = await client.query("principals")

    assert (replies, mails) == (["235"] * 8, ["250"] * 8)
    assert row["used_at"] is not None


async def test_what_it_cannot_start_with_is_one_line(settings: Settings, tmp_path: Path) -> None:
    """With the status that the supervisor takes for a wrong set-up."""
    environment = {**os.environ, **settings.environment(), "CLARION_INTAKE_CERTIFICATE": str(tmp_path / "none")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "serving.intake", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(process.communicate(), 30.0)

    assert process.returncode == 2
    assert errors.decode().splitlines() == [
        "CLARION_INTAKE_CERTIFICATE and CLARION_INTAKE_KEY belong together; set both"
    ]


def test_its_processes_are_told_apart(settings: Settings) -> None:
    """The port is looked at once, before the first of them starts."""
    three = intakes(settings.model_copy(update={"intake_workers": 3}))

    assert [program.name for program in three] == ["intake", "intake.2", "intake.3"]
    assert [len(program.ports) for program in three] == [1, 0, 0]
