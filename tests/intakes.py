"""The SMTP intake in process, before a real broker, and clients that say what they like on a socket."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from serving.enrolment import Registrar
from serving.gateway.uses import Uses
from serving.identifiers import format_id
from serving.intake.returned import ReturnHandler
from serving.intake.server import Server
from serving.intake.session import Parts
from serving.intake.wiring import make_parts
from serving.keyring import load_sealing, load_unsealing
from serving.queue.client import Client
from serving.queue.lease import Lease
from serving.sealing import UnsealingKey, create_keys, load_lookup
from serving.settings import Settings

MAIL = b"From: ops@example.org\r\nMessage-ID: <1@example.org>\r\nSubject: x\r\n\r\nbody\r\n"
PATIENCE = 20.0


class Dialogue:
    """A client on a plain socket."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._port, self._host = port, host
        self.greeting = ""

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port)
        self.greeting = await self.reply()
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def say(self, words: str | bytes) -> str:
        """One command and the whole reply, its lines joined by LF."""
        await self.send((words if isinstance(words, bytes) else words.encode()) + b"\r\n")
        return await self.reply()

    async def send(self, octets: bytes) -> None:
        """Whatever octets."""
        self.writer.write(octets)
        await asyncio.wait_for(self.writer.drain(), PATIENCE)

    async def reply(self) -> str:
        """The next reply, "" at the end of the connection."""
        lines = []
        while line := (await asyncio.wait_for(self.reader.readline(), PATIENCE)).decode():
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                break
        return "\n".join(lines)

    async def log_in(self, key: str) -> str:
        """EHLO and AUTH PLAIN."""
        await self.say("EHLO client.example")
        return await self.say("AUTH PLAIN " + plain(key))

    async def begin(self, *recipients: str, sender: str = "ops@example.org") -> str:
        """MAIL, RCPT and DATA; the reply to the last of them."""
        await self.say(f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            await self.say(f"RCPT TO:<{recipient}>")
        return await self.say("DATA")

    async def mail(self, *recipients: str, mail: bytes = MAIL, sender: str = "ops@example.org") -> str:
        """A whole mail; the last reply."""
        begun = await self.begin(*recipients, sender=sender)
        if not begun.startswith("354"):
            return begun
        await self.send(mail + b".\r\n")
        return await self.reply()


@dataclass(frozen=True, slots=True)
class Intake:
    """One that listens; `key` is the API key of the sender `ops`, for example.org."""

    port: int
    parts: Parts
    client: Client
    content: UnsealingKey
    registrar: Registrar
    key: str
    uses: Uses

    def talk(self) -> Dialogue:
        """A client's connection."""
        return Dialogue(self.port)

    async def stored(self, count: int) -> list[Lease]:
        """The next notifications that came in, in the order of the queue; they stay where they are."""
        return [lease async for lease in _first(self.client, count)]

    def opened(self, lease: Lease) -> bytes:
        """The stored body."""
        return self.content.unseal(lease.body)

    def message(self, lease: Lease) -> str:
        """The id of its message, as people see it."""
        return format_id(lease.message_id)

    async def count(self) -> int:
        """How many notifications there are."""
        return sum(int(row["count"]) for row in await self.client.query("depths"))


MakeIntake = Callable[..., Any]


@asynccontextmanager
async def intakes(client: Client, home: Path) -> AsyncIterator[MakeIntake]:
    """Makes intakes: `returned` reads our own addresses, `parts` are replaced, the rest are settings."""
    create_keys(home / "keys")
    content = load_unsealing(home / "keys", "content")
    registrar = Registrar(client, load_sealing(home / "keys", "content"), load_lookup(home / "keys"))
    key = await registrar.principal("ops", "Ops", ["example.org"], {})
    async with AsyncExitStack() as servers:

        async def make(
            returned: ReturnHandler | None = None,
            parts: dict[str, Any] | None = None,
            clock: Callable[[], float] = time.time,
            **settings: Any,
        ) -> Intake:
            stated = {"home": home, "mail_from": "clarion@gate.example", **settings}
            uses = Uses(client, clock)
            made = replace(make_parts(Settings(**stated), client, uses, returned, clock), **(parts or {}))
            server = Server(made)
            servers.push_async_callback(server.close)
            return Intake(await server.listen("127.0.0.1", 0), made, client, content, registrar, key, uses)

        yield make


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate that nobody vouches for, and its key, in PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gate.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "intake.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "intake.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
    return folder / "intake.crt", folder / "intake.key"


def plain(key: str) -> str:
    """The response of AUTH PLAIN."""
    return base64.b64encode(f"\0ops\0{key}".encode()).decode()


async def _first(client: Client, count: int) -> AsyncIterator[Lease]:
    leases = client.consume("authentication", credit=count)
    left = count
    async for lease in leases:
        yield lease
        left -= 1
        if not left:
            break
