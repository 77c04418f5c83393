"""A Web Key Directory on this machine: a real HTTPS server, for both hosts of home.example, and a DNS beside it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from serving.encryption.wkd import KeyDirectory
from tests.unit.certificates import NOW

ADVANCED, DIRECT = "openpgpkey.home.example", "home.example"
HOME: Mapping[str, tuple[str, ...]] = {ADVANCED: ("127.0.0.1",), DIRECT: ("127.0.0.1",)}


@dataclass
class Published:
    """What a directory answers to everything, and what it was asked: the host and the target of each request."""

    body: bytes = b""
    status: str = "200 OK"
    fields: str = ""
    is_silent: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        host = next(line[6:] for line in request.splitlines() if line.startswith("Host: "))
        self.asked.append((host, request.split(" ")[1]))
        if self.is_silent:
            await reader.read()
        writer.write(f"HTTP/1.1 {self.status}\r\nConnection: close\r\n{self.fields}\r\n".encode() + self.body)
        writer.close()


@dataclass
class Home:
    """The directory, its port, whom its certificate vouches for, and a DNS that knows `names`."""

    published: Published
    port: int
    trusted: ssl.SSLContext
    names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: HOME)

    async def resolve(self, host: str) -> tuple[str, ...]:
        return self.names.get(host, ())

    def directory(self, *, timeout: float = 5.0) -> KeyDirectory:
        return KeyDirectory(
            resolve=self.resolve, may_ask=lambda _: True, tls=self.trusted, port=self.port, timeout=timeout
        )


@asynccontextmanager
async def key_directory(folder: Path, body: bytes) -> AsyncIterator[Home]:
    """A directory that publishes these octets, over TLS."""
    published, pem = Published(body), _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(published.serve, "127.0.0.1", 0, ssl=context)
    yield Home(published, server.sockets[0].getsockname()[1], ssl.create_default_context(cafile=str(pem)))
    server.close()


def _certificate(folder: Path) -> Path:
    """A key and a certificate that vouches for itself, for both hosts of home.example."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    hosts = x509.SubjectAlternativeName([x509.DNSName(ADVANCED), x509.DNSName(DIRECT)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(hosts, critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "directory.pem"
    path.write_bytes(secret + certificate.public_bytes(encoding))
    return path
