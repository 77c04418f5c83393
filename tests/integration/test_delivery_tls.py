"""TLS on the way out: taken where it is offered, demanded and verified where the set-up says so."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from serving.delivery.connections import Connections, Destination
from serving.delivery.parcel import Parcel
from serving.delivery.transaction import Failure, send
from serving.values import Receipt

PARCEL = Parcel("", "bob@receiver.example", "<7@clarion.invalid>", b"Subject: x\r\n\r\nx\r\n")


@dataclass
class Receiver:
    """Notes whether each mail came over TLS, and from whom."""

    kept: list[tuple[bool, str | None]] = field(default_factory=list)

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:
        self.kept.append((session.ssl is not None, envelope.mail_from))
        return "250 ok"


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def port(receiver: Receiver, tmp_path: Path) -> AsyncIterator[int]:
    """A server that offers STARTTLS with a certificate that nobody vouches for."""
    loop = asyncio.get_running_loop()
    context = self_signed(tmp_path)
    servers: list[SMTP] = []

    def session() -> SMTP:
        servers.append(SMTP(receiver, hostname="receiver.example", tls_context=context, loop=loop))
        return servers[-1]

    server = await loop.create_server(session, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for each in servers:
        if each.transport:
            each.transport.close()
    await asyncio.sleep(0)


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding, none = serialization.Encoding.PEM, serialization.NoEncryption()
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, none) + certificate.public_bytes(encoding)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def deliver(port: int, *, start_tls: bool | None) -> Receipt | Failure:
    async def before_data() -> None:
        pass

    connections = Connections(Destination("127.0.0.1", port, "clarion.example", start_tls), timeout=5.0, keep=1)
    ending = await send(connections, PARCEL, before_data=before_data, data_timeout=5.0)
    await connections.close()
    return ending


@pytest.mark.parametrize(("start_tls", "encrypted"), [(None, True), (False, False)])
async def test_tls_is_used_where_it_is_offered_and_not_forbidden(
    port: int, receiver: Receiver, start_tls: bool | None, encrypted: bool
) -> None:
    """Opportunistic TLS does not ask who vouches (RFC 7435): encrypted to somebody beats open to everybody."""
    ending = await deliver(port, start_tls=start_tls)

    assert isinstance(ending, Receipt)
    assert receiver.kept == [(encrypted, "<>")]


async def test_where_tls_is_demanded_an_unknown_certificate_gets_no_mail(port: int, receiver: Receiver) -> None:
    """Demanded means verified; the mail waits, because somebody can put it right."""
    ending = await deliver(port, start_tls=True)

    assert isinstance(ending, Failure)
    assert not ending.permanent
    assert receiver.kept == []


async def test_where_tls_is_demanded_a_server_without_it_gets_no_mail(receiver: Receiver) -> None:
    """Somebody in the middle can strike STARTTLS from the offer; that must not open the mail."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(receiver, hostname="x", loop=loop), "127.0.0.1", 0)

    ending = await deliver(server.sockets[0].getsockname()[1], start_tls=True)
    server.close()

    assert isinstance(ending, Failure)
    assert not ending.permanent
    assert receiver.kept == []
