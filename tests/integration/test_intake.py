"""Mail comes in by SMTP: whole, durable before 250, and once however often it is sent."""

import asyncio

import pytest

from serving.authentication.stage import Authentication
from serving.envelope import Request, SmtpEnvelope, envelope_of, without_envelope
from serving.queue.client import Client
from serving.trace import Trace, stamped
from tests.conftest import BrokerProcess
from tests.intakes import MAIL, Intake, MakeIntake

ADA, BEN, CAM = "ada@example.net", "ben@example.net", "cam@example.net"
HERE = {"127.0.0.0/8": "site"}


class TestTaking:
    async def test_250_names_the_message_that_is_kept(self, intake: Intake) -> None:
        """The one thing that its sender can ask for later."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            reply = await talk.mail(ADA, BEN)
        leases = await intake.stored(2)

        assert reply == f"250 2.0.0 accepted as {intake.message(leases[0])}"
        assert {intake.content.unseal(lease.address).decode() for lease in leases} == {ADA, BEN}
        assert {lease.principal for lease in leases} == {"ops"}

    async def test_what_was_answered_survives_kill_9(self, intake: Intake, broker: BrokerProcess) -> None:
        """250 means on disk."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            reply = await talk.mail(ADA)
            broker.kill()
            broker.start()
            (lease,) = await intake.stored(1)

        assert reply.endswith(intake.message(lease))

    async def test_the_mail_is_kept_as_it_was_sent_below_its_trace(self, intake: Intake) -> None:
        """Dots that begin a line are SMTP's, not the mail's; all else is the sender's."""
        mail = MAIL + b".\r\n..\r\n.x\r\n\xff8 bit\r\n"
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.begin(ADA)
            await talk.send(mail.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            await talk.reply()
        (lease,) = await intake.stored(1)
        body = intake.opened(lease)

        assert body.endswith(b"\r\n" + mail)
        assert stamped(body) == Trace("127.0.0.1", "client.example", "ops@example.org")
        assert b"by gate.example (Clarion) with ESMTPA; " in without_envelope(body)

    async def test_what_the_sender_asked_of_reports_is_noted_for_each_recipient(self, intake: Intake) -> None:
        """Whoever writes the reports later has no other place to read it (RFC 3461)."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.say("MAIL FROM:<ops@example.org> RET=HDRS ENVID=QQ+2B314 SIZE=100 BODY=8BITMIME AUTH=<>")
            await talk.say(f"RCPT TO:<{ADA}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Ada+2Bx@example.net")
            await talk.say(f"RCPT TO:<{BEN}> NOTIFY=NEVER")
            await talk.say("DATA")
            await talk.send(MAIL + b".\r\n")
            await talk.reply()
        (lease, _) = await intake.stored(2)
        body = intake.opened(lease)

        assert envelope_of(body, ADA) == SmtpEnvelope(
            "ops@example.org", "QQ+314", "headers", Request(("success", "delay"), "rfc822;Ada+x@example.net")
        )
        assert envelope_of(body, BEN) == SmtpEnvelope("ops@example.org", "QQ+314", "headers", Request(()))

    async def test_what_claims_to_be_noted_by_us_is_left_out(self, intake: Intake) -> None:
        """Reports would go to whomever the forger names."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.mail(ADA, mail=b'Clarion-Envelope: ["victim@example.com", null, null, {}]\r\n' + MAIL)
        (lease,) = await intake.stored(1)

        assert intake.opened(lease).count(b"Clarion-Envelope") == 1
        assert envelope_of(intake.opened(lease), ADA) == SmtpEnvelope("ops@example.org")

    async def test_nothing_of_a_mail_lies_open_in_the_store(self, intake: Intake, broker: BrokerProcess) -> None:
        """Addresses and ENVID are as personal as the text."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.say("MAIL FROM:<canary1@example.org> ENVID=canary2")
            await talk.say("RCPT TO:<canary3@example.net> ORCPT=rfc822;canary4@example.net")
            await talk.say("DATA")
            await talk.send(MAIL + b"canary5\r\n.\r\n")
            assert (await talk.reply()).startswith("250")
        files = b"".join(file.read_bytes() for file in broker.store.parent.iterdir() if file.is_file())

        assert b"canary" not in files

    async def test_its_sender_is_authenticated_by_its_key_as_over_http(self, intake: Intake, client: Client) -> None:
        """A key vouches for its domains whichever way the mail came."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.mail(ADA)
            await talk.mail(ADA, mail=MAIL.replace(b"example.org", b"other.example"))
        stage = Authentication(client, intake.content)
        outcomes = [type(await stage.handle(lease)).__name__ for lease in await intake.stored(2)]  # type: ignore[arg-type]

        assert outcomes == ["Authenticated", "Unverified"]


class TestOnce:
    async def send(self, intake: Intake, *recipients: str, mail: bytes = MAIL, sender: str = "ops@example.org") -> str:
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            return await talk.mail(*recipients, mail=mail, sender=sender)

    @pytest.mark.parametrize(("again", "count"), [((ADA, BEN), 2), ((BEN,), 2), ((CAM, BEN, ADA), 3)])
    async def test_a_repetition_makes_nothing_new(self, intake: Intake, again: tuple[str, ...], count: int) -> None:
        """The 250 was lost, and the sender's server comes with all, some, or more of the recipients."""
        first = await self.send(intake, ADA, BEN)
        second = await self.send(intake, *again)

        assert (first[:9], second[:9]) == ("250 2.0.0", "250 2.0.0")
        assert await intake.count() == count

    async def test_many_at_once_are_one(self, intake: Intake) -> None:
        """A server that gave up waiting tries again while the first try is still being written."""
        replies = await asyncio.gather(*(self.send(intake, ADA) for _ in range(8)))

        assert len(set(replies)) == 1
        assert await intake.count() == 1

    @pytest.mark.parametrize(
        ("mail", "sender"),
        [
            (MAIL.replace(b"body", b"bodY"), "ops@example.org"),
            (MAIL.replace(b"<1@", b"<2@"), "ops@example.org"),
            (MAIL, "other@example.org"),
        ],
    )
    async def test_another_mail_is_another(self, intake: Intake, mail: bytes, sender: str) -> None:
        """A Message-ID alone suppresses nothing."""
        await self.send(intake, ADA)
        await self.send(intake, ADA, mail=mail, sender=sender)

        assert await intake.count() == 2

    async def test_without_a_message_id_each_is_another(self, intake: Intake) -> None:
        """The same alarm twice is two alarms, unless its sender says otherwise."""
        mail = MAIL.replace(b"Message-ID", b"X-Message-ID")
        await self.send(intake, ADA, mail=mail)
        await self.send(intake, ADA, mail=mail)

        assert await intake.count() == 2

    async def test_another_sender_suppresses_nothing(self, intake: Intake) -> None:
        """Whoever knows a mail beforehand could otherwise send it first, and it would count as theirs."""
        other = await intake.registrar.principal("eve", "Eve", ["example.com"], {})
        for key in (other, intake.key):
            async with intake.talk() as talk:
                await talk.log_in(key)
                await talk.mail(ADA)

        assert [lease.principal for lease in await intake.stored(2)] == ["eve", "ops"]

    async def test_strangers_behind_one_sender_suppress_nothing(self, make_intake: MakeIntake) -> None:
        """Of a relayed mail only the first would be judged, by the proofs of whoever sent it."""
        intake = await make_intake(intake_networks={"127.0.0.0/8": "site"})
        await intake.registrar.principal("site", "Site", [], {"relays": True})
        await intake.registrar.recipient(ADA, None, {}, {})
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.2"):
            reader, writer = await asyncio.open_connection("127.0.0.1", intake.port, local_addr=(address, 0))
            words = f"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<{ADA}>\r\nDATA\r\n".encode()
            writer.write(words + MAIL + b".\r\nQUIT\r\n")
            assert b"accepted as" in await reader.read()
            writer.close()

        assert await intake.count() == 2
