"""A house at work, from acceptance to delivery and back by SMTP; what was sent is opened as its reader would."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import aiosmtplib
from pysequoia import Tsk, decrypt

from data.parse import parse
from serving import pipeline as p
from serving.delivery.parcel import Parcel, open_parcel
from serving.encryption.certificates import generate_test_key
from serving.encryption.stage import Encryption
from serving.gateway.uses import Uses
from serving.history import History
from serving.intake.parts import Parts
from serving.intake.server import Server
from serving.intake.wiring import make_parts, make_returned
from serving.keyring import load_sealing, load_unsealing
from serving.notice.stage import Notice, Post
from serving.pipeline import Stage
from serving.queue.client import Client, Recipient, Submission
from serving.return_addresses import ReturnAddresses
from serving.sealing import create_keys, load_lookup
from serving.settings import Settings
from serving.stage import Handler, Work
from serving.values import Prediction, Receipt
from serving.web.token import Links
from tests.integration.stages import always, working

OURS, ADA, WARD = "clarion@gate.example", "ada@home.example", "ward7@hospital.example"
MAIL = (
    b"From: Ward 7 <ward7@hospital.example>\r\nTo: ada@home.example\r\nSubject: Lab value 7.9\r\n"
    b"Date: Sun, 29 Nov 2026 10:00:00 +0000\r\nMessage-ID: <lab-1@hospital.example>\r\n\r\nPotassium 7.9.\r\n"
)


@dataclass
class House:
    """Every stage but the judging ones is real; `sent` is what left, in order."""

    client: Client
    home: Path
    port: int = 0
    sent: list[Parcel] = field(default_factory=list)

    def __post_init__(self) -> None:
        create_keys(self.home / "keys")
        self.settings = Settings(home=self.home, mail_from=OURS)
        keys = self.settings.keys
        self.content, self.lookup = load_unsealing(keys, "content"), load_lookup(keys)
        self.history = History(self.client, self.lookup)
        self._secrets: dict[str, Tsk] = {}
        self.addresses = ReturnAddresses(self.lookup.derive("return"), "gate.example")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """At work, the intake too, until the block ends."""
        server = Server(self._parts())
        self.port = await server.listen("127.0.0.1", 0)
        try:
            async with working(self.client, self._handlers()):
                yield
        finally:
            await server.close()

    async def enroll(self, address: str = ADA) -> None:
        """Somebody with a certificate."""
        certificate, secret = generate_test_key(address, "Somebody")
        self._secrets[address] = Tsk.from_bytes(secret.encode())
        seal = self.content.sealing_key.seal
        await self.client.execute(
            "enroll_recipient",
            lookup=self.lookup.address(address).hex(),
            address=seal(address.encode()).hex(),
            certificate=seal(certificate.encode()).hex(),
            wishes={},
            policy={},
        )

    async def accept(self, mail: bytes = MAIL, to: str = ADA) -> int:
        """The id of a new notification."""
        seal = self.content.sealing_key.seal
        person = Recipient(self.lookup.address(to), seal(to.encode()))
        accepted = await self.client.accept(Submission("hospital", seal(mail), (person,)))
        return accepted.notification_ids[0]

    async def answer(self, mail: EmailMessage | bytes, rcpt_to: str, mail_from: str = ADA) -> aiosmtplib.SMTPResponse:
        """What the intake says to the mail, handed in as any server does, which knows nobody here."""
        octets = mail if isinstance(mail, bytes) else mail.as_bytes(policy=SMTP)
        server = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.port, start_tls=False, local_hostname="mail.home.example"
        )
        async with server as smtp:
            try:
                await smtp.mail(mail_from)
                await smtp.rcpt(rcpt_to)
                return await smtp.data(octets)
            except aiosmtplib.SMTPResponseException as error:
                return aiosmtplib.SMTPResponse(error.code, error.message)

    def read(self, parcel: Parcel) -> bytes:
        """What its reader's mail program decrypts."""
        armour = parcel.mail.partition(b"-----BEGIN")
        message = decrypt(armour[1] + armour[2], self._secrets[parcel.rcpt_to].decryptor())
        return bytes(message.bytes or b"")

    async def kinds(self, id_: int) -> list[str]:
        """A notification's history."""
        return [event["kind"] for event in await self.client.query("events", id=str(id_))]

    async def counted(self, mail: bytes = MAIL, to: str = ADA) -> Mapping[str, int]:
        """The history of the two as the classifier sees it."""
        counters = await self.history.counters(parse(mail), to)
        return {name: counter.count for name, counter in counters.items()}

    async def facts(self, id_: int | str) -> dict[str, Any]:
        (row,) = await self.client.query("notification", id=str(id_))
        return {**row["facts"], "state": row["state"]}

    def _parts(self) -> Parts:
        uses, returned = Uses(self.client, time.time), make_returned(self.settings, self.client)
        return make_parts(self.settings, self.client, uses, returned)

    def _handlers(self) -> Mapping[Stage, Handler]:
        keys = self.settings.keys
        encryption = Encryption(
            self.client, self.content, load_sealing(keys, "delivery"), OURS, time.time, lookup=self.lookup
        )
        post = Post(OURS, self.settings.pay_url, Links(self.lookup.derive("pay")))
        return {
            Stage.AUTHENTICATION: always(p.Authenticated("api_key")),
            Stage.CLASSIFICATION: self._urgent,
            Stage.ENCRYPTION: encryption.handle,
            Stage.PAYMENT: always(p.Waived("policy")),
            Stage.DELIVERY: self._deliver,
            Stage.SETTLEMENT: always(p.Unbilled("policy")),
            Stage.NOTICE: Notice(self.client, self.content, self.lookup, post, time.time).handle,
        }

    async def _urgent(self, work: Work) -> p.Urgent:
        message = parse(self.content.unseal(work.body))
        counters = await self.history.counters(message, ADA)
        observation = self.history.observation(message, ADA, work.ordinal, counters)
        return p.Urgent(Prediction("urgent", 0.9, None, False, "v"), observation)

    async def _deliver(self, work: Work) -> p.Sent:
        key = load_unsealing(self.settings.keys, "delivery")
        parcel = await asyncio.to_thread(lambda: open_parcel(key.unseal(work.body)))
        self.sent.append(parcel)
        return p.Sent(Receipt(250, "2.0.0 ok", parcel.message_id))
