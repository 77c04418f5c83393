"""Mail that travels open arrives below our trace fields as it came, over a real SMTP server: its signature says so."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random

import dkim  # type: ignore[import-untyped]
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from nacl.public import PrivateKey

from serving.delivery.routes import Smarthost
from serving.delivery.stage import Delivery
from serving.encryption.outside import Outside
from serving.encryption.relayed import relay
from serving.pipeline import Sent
from serving.sealing import UnsealingKey
from tests.unit import works
from tests.unit.zones import RSA

KEY = UnsealingKey(bytes(PrivateKey.generate()))
OUTSIDE = Outside("7", "clarion@gate.example", "ann@home.example", datetime.fromtimestamp(1e9, UTC))
HEADER = (
    b"From: Ops <ops@bank.example>\r\nTo: ann@home.example\r\nSubject: disk\r\nMessage-ID: <1@bank.example>\r\n\r\n"
)
BODIES = {
    "plain": b"db1 is full\r\n",
    "dots": b".\r\n..\r\n.x\r\n..x\r\n\r\n.\r\n",
    "nothing": b"",
    "no end": b"the last line has no end",
    "many ends": b"x\r\n\r\n\r\n\r\n",
    "8-bit": "Größe: 97 %\r\n".encode() + b"\xff\xfe raw\r\n",
    "blanks": b"trailing \t \r\n \t\r\n   leading\r\n",
    "longest": b"y" * 998 + b"\r\n" + b"." * 998 + b"\r\n",
    "commands": b"\r\nQUIT\r\nDATA\r\nRSET\r\nFrom here\r\n",
    "controls": bytes(octet for octet in range(1, 32) if octet not in b"\r\n") + b"\x7f\r\n",
    "large": (b"." * 70 + b"\r\n") * 20_000,
}


class Receiver:
    """Keeps the octets."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.kept.append(envelope.content)
        return "250 2.0.0 ok"


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def port(receiver: Receiver) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(receiver, hostname="x", loop=loop), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def deliver(port: int, mail: bytes) -> None:
    head = {"mail_from": "bounce@gate.example", "rcpt_to": "ann@home.example", "message_id": "<1@bank.example>"}
    stage = Delivery(KEY, Smarthost("127.0.0.1", port, "gate.example"), expiry=60.0, random=Random(1))  # noqa: S311
    sealed = KEY.sealing_key.seal(json.dumps(head).encode() + b"\n" + mail)
    outcome = await stage.handle(works.work(body=sealed, note=_note))
    await stage.close()

    assert isinstance(outcome, Sent)


async def _note(*_: object) -> None:
    pass


@pytest.mark.parametrize("canonical", [(b"simple", b"simple"), (b"relaxed", b"relaxed")])
@pytest.mark.parametrize("body", BODIES)
async def test_a_signed_mail_is_unchanged_below_our_fields_and_its_signature_holds(
    port: int, receiver: Receiver, body: str, canonical: tuple[bytes, bytes]
) -> None:
    """Byte for byte but for the line end that SMTP puts behind a last line without one (RFC 5321 section 4.1.1.4)."""
    signed = RSA.sign(HEADER + BODIES[body], "bank.example", canonicalize=canonical)
    await deliver(port, relay(signed, OUTSIDE))
    (kept,) = receiver.kept
    end = b"" if signed.endswith(b"\r\n") else b"\r\n"

    assert kept == _trace() + signed + end
    assert dkim.verify(kept, dnsfunc=lambda *_, **__: RSA.record.encode())


@pytest.mark.parametrize("body", [b"bare \r CR\r\n", b"z" * 999 + b"\r\n", b"NUL \0\r\n"])
async def test_what_smtp_cannot_carry_arrives_whole_and_says_that_it_was_written_anew(
    port: int, receiver: Receiver, body: bytes
) -> None:
    """A bare CR on the wire is what smuggling is made of, and lines over 998 octets are cut by others."""
    await deliver(port, relay(HEADER + body, OUTSIDE))
    (kept,) = receiver.kept

    assert b"Clarion-Reencoded: yes" in kept
    assert b"\r" not in kept.replace(b"\r\n", b"")
    assert max(map(len, kept.split(b"\r\n"))) <= 998


def _trace() -> bytes:
    return relay(HEADER, OUTSIDE).removesuffix(HEADER)
