"""What every process of a run knows: where things lie, who listens where, the seed, and the bug if there is one."""

import hashlib
import json
import socket
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random

from serving.payment.sandbox_client import SandboxClient
from serving.sealing import UnsealingKey
from serving.topology import topology

HOST = "127.0.0.1"
PRICE = 5
CURRENCY = "EUR"
TIMEOUT = 0.5
"""Seconds that we wait for the provider: less than it hangs."""
_PORTS = range(20_000, 32_000)
"""Below those that outgoing connections take: the port of a killed process must still be free a second later."""


@dataclass(frozen=True, slots=True)
class World:
    """Written once, before anything starts; `bug` names the deliberate one, empty for none."""

    folder: str
    seed: int
    bug: str
    smtp: int
    provider: int
    till: int
    courier: int

    @classmethod
    def create(cls, folder: Path, seed: int, bug: str) -> "World":
        """A world in that folder, on ports that are free now, ready for its processes."""
        world = cls(str(folder.absolute()), seed, bug, *_free_ports(4))
        world.file.write_text(json.dumps(asdict(world)), encoding="utf-8")
        world.secret.write_text(hashlib.sha256(f"{seed}:webhooks".encode()).hexdigest(), encoding="utf-8")
        topology().write(world.topology)
        return world

    @classmethod
    def read(cls, file: str) -> "World":
        """The world in the file."""
        return cls(**json.loads(Path(file).read_text(encoding="utf-8")))

    def path(self, name: str) -> Path:
        """A file of the run."""
        return Path(self.folder) / name

    @property
    def file(self) -> Path:
        """Where the world itself is written."""
        return self.path("world.json")

    @property
    def socket(self) -> Path:
        """The broker's."""
        return self.path("broker.sock")

    @property
    def topology(self) -> Path:
        """The pipeline's table, as the broker reads it."""
        return self.path("topology.json")

    @property
    def secret(self) -> Path:
        """What the provider signs its webhooks with."""
        return self.path("webhook-secret")

    @property
    def journal(self) -> Path:
        """The provider's own book."""
        return self.path("provider.jsonl")

    @property
    def arrivals(self) -> Path:
        """The receiver's own book: a line for each mail that it took."""
        return self.path("arrivals.jsonl")

    @property
    def answers(self) -> Path:
        """A line for each answer of the provider, as its clients understood it."""
        return self.path("answers.jsonl")

    @property
    def webhooks(self) -> Path:
        """A line for each webhook that was handed over."""
        return self.path("webhooks.jsonl")

    @property
    def key(self) -> UnsealingKey:
        """Opens the envelopes; the same in every process and after every restart."""
        return UnsealingKey(hashlib.sha256(f"{self.seed}:key".encode()).digest())

    def client(self) -> SandboxClient:
        """A connection to the provider."""
        return SandboxClient(f"http://{HOST}:{self.provider}", timeout=TIMEOUT)

    def chance(self, *what: object) -> Random:
        """Chance that depends on the seed and on what it is for, never on when it is asked."""
        return Random(":".join(map(str, (self.seed, *what))))  # noqa: S311 - to be replayed, not to be secret


def _free_ports(count: int) -> list[int]:
    candidates = Random().sample(_PORTS, 50 * count)  # noqa: S311
    return list(islice(filter(_is_free, candidates), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
