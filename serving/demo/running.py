"""Everything that runs during a demo: started in order, on ports that are free now, and connected to."""

import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from serving import programs
from serving.demo.view import View
from serving.enrolment import Registrar
from serving.keyring import load_sealing
from serving.payment.sandbox_client import SandboxClient
from serving.queue.client import Client
from serving.sealing import load_lookup
from serving.settings import Settings
from serving.supervisor import Supervisor

READY_WITHIN = 180.0


@dataclass(frozen=True, slots=True)
class Running:
    """What the play acts with. `paid`: the keys under which recipients paid; `killed`: the programs that chaos hit."""

    settings: Settings
    supervisor: Supervisor
    client: Client
    provider: SandboxClient
    registrar: Registrar
    view: View
    paid: set[str] = field(default_factory=set)
    killed: list[str] = field(default_factory=list)


async def start(settings: Settings, artefact: Path, view: View, resources: AsyncExitStack) -> Running:
    """Broker, provider, receiver, gateway, stages, intake and webhooks, ready; closing `resources` ends them.

    Raises:
        ConfigurationError: one of them cannot start; its log is named.
    """
    started_in_order = [
        programs.broker(settings),
        programs.sandbox(settings),
        programs.receiver(settings),
        programs.gateway(settings, artefact),
        *programs.intakes(settings),
        programs.webhooks(settings),
    ]
    supervisor = await resources.enter_async_context(Supervisor(started_in_order, settings.home))
    client = await Client.connect(settings.socket, timeout=30.0)
    resources.push_async_callback(client.close)
    provider = await resources.enter_async_context(SandboxClient(settings.provider_url))
    registrar = Registrar(client, load_sealing(settings.keys, "content"), load_lookup(settings.keys))
    await supervisor.ready(READY_WITHIN)
    return Running(settings, supervisor, client, provider, registrar, view)


def demo_settings(home: Path) -> Settings:
    """Settings for one demo: its own home, this machine only, free ports, and retries that a person can wait for.

    Whatever mail server the environment names is for `make serve`: a demo's mail reaches nobody.
    """
    smtp, provider, http, intake = free_ports(4)
    return Settings.read(
        home=home,
        http_port=http,
        intake_host="127.0.0.1",
        intake_port=intake,
        smtp_host="127.0.0.1",
        smtp_port=smtp,
        provider_url=f"http://127.0.0.1:{provider}",
        first_retry=0.5,
        longest_retry=5.0,
    )


def free_ports(count: int) -> list[int]:
    """TCP ports of this machine that are free now, no two alike."""
    with ExitStack() as probes:
        return list(_free_ports(count, probes))


def _free_ports(count: int, probes: ExitStack) -> Iterator[int]:
    for _ in range(count):
        probe = probes.enter_context(socket.create_server(("127.0.0.1", 0)))
        yield int(probe.getsockname()[1])
