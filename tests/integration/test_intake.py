"""Mail comes in by SMTP: from whom, for whom, durable before 250, and once however often it is sent."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serving.authentication.api_keys import new_key
from serving.authentication.stage import Authentication
from serving.envelope import Request, SmtpEnvelope, envelope_of, without_envelope
from serving.errors import BrokerUnavailable, ConfigurationError, Refused
from serving.gateway.limits import FAILURES
from serving.intake.acceptance import Acceptance
from serving.intake.callers import read_networks
from serving.intake.replies import Refusal
from serving.intake.server import read_tls
from serving.queue.client import Accepted, Client, Submission
from serving.return_addresses import Returned
from serving.trace import Trace, stamped
from tests.conftest import BrokerProcess
from tests.intakes import MAIL, Intake, MakeIntake, intakes, plain

ADA, BEN, CAM = "ada@example.net", "ben@example.net", "cam@example.net"
HERE = {"127.0.0.0/8": "site"}


@pytest.fixture
async def make_intake(client: Client, tmp_path: Path) -> AsyncIterator[MakeIntake]:
    async with intakes(client, tmp_path) as make:
        yield make


@pytest.fixture
async def intake(make_intake: MakeIntake) -> Intake:
    made: Intake = await make_intake()
    return made


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


class TestCallers:
    async def test_who_does_not_log_in_is_told_to(self, intake: Intake) -> None:
        """An open relay would be found within hours."""
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            await talk.say("MAIL FROM:<ops@example.org>")

            assert await talk.say(f"RCPT TO:<{ADA}>") == "530 5.7.0 Log in with an API key first (AUTH)"
            assert await talk.say("DATA") == "503 5.5.1 MAIL and RCPT first"

    async def test_every_way_to_log_in_works(self, intake: Intake) -> None:
        """Programs know one of them, seldom all."""
        user, password = plain(intake.key), base64_of(intake.key)
        replies = []
        for first, *more in (
            [f"AUTH PLAIN {user}"],
            ["AUTH PLAIN", user],
            ["auth login", base64_of("anything"), password],
            [f"AUTH LOGIN {base64_of('x')}", password],
        ):
            async with intake.talk() as talk:
                await talk.say("EHLO x")
                reply = await talk.say(first)
                for line in more:
                    assert reply.startswith("334")
                    reply = await talk.say(line)
                replies.append(reply)

        assert replies == ["235 2.7.0 Logged in"] * 4

    @pytest.mark.parametrize(
        ("words", "reply"),
        [
            (["AUTH PLAIN *"], "501 5.7.0"),
            (["AUTH PLAIN", "*"], "501 5.7.0"),
            (["AUTH PLAIN !!"], "501 5.5.2"),
            (["AUTH PLAIN ="], "501 5.5.2"),
            (["AUTH PLAIN AGEAYg=="], "535 5.7.8"),
            (["AUTH CRAM-MD5"], "504 5.5.4"),
            (["AUTH"], "504 5.5.4"),
            (["MAIL FROM:<a@b.example>", "AUTH LOGIN"], "503 5.5.1"),
        ],
    )
    async def test_what_is_no_login_is_said(self, intake: Intake, words: list[str], reply: str) -> None:
        """With the codes of RFC 4954."""
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            for word in words:
                answer = await talk.say(word)

            assert answer.startswith(reply)

    async def test_a_guesser_is_sent_away_and_a_valid_key_still_passes(self, intake: Intake) -> None:
        """A hospital behind one address must not lose its alarms to a neighbour's old script."""
        replies = []
        for _ in range(FAILURES // 3 + 2):
            async with intake.talk() as talk:
                await talk.say("EHLO x")
                replies += [await talk.say(f"AUTH PLAIN {plain(new_key().key)}") for _ in range(3)]
        async with intake.talk() as talk:
            good = await talk.log_in(intake.key)

        assert [reply[:9] for reply in replies[:3]] == ["535 5.7.8", "535 5.7.8", "421 4.7.0"]
        assert replies[-2].startswith("454 4.7.0 Too many wrong keys")
        assert good.startswith("235")

    async def test_a_key_that_is_revoked_meanwhile_sends_nothing_more(
        self, make_intake: MakeIntake, client: Client
    ) -> None:
        """A connection may stay open for hours."""
        now = [1e9]
        intake = await make_intake(clock=lambda: now[0])
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            begun = await talk.begin(ADA)
            await client.execute("revoke_principal", id="ops")
            now[0] += 4.0
            await talk.send(MAIL + b".\r\n")
            reply = await talk.reply()

        assert begun.startswith("354")
        assert reply.startswith("535 5.7.8")

    async def test_a_network_s_systems_need_no_login(self, make_intake: MakeIntake) -> None:
        """Printers and old appliances have no place for a key."""
        intake = await make_intake(intake_networks={"127.0.0.0/8": "ops", "127.0.0.2/32": "nobody"})
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            reply = await talk.mail(ADA)
        (lease,) = await intake.stored(1)

        assert reply.startswith("250 2.0.0 accepted")
        assert lease.principal == "ops"
        assert b"with ESMTP; " in intake.opened(lease)

    async def test_the_narrowest_network_counts(self) -> None:
        """0.0.0.0/0 is for the world, and our own systems are no strangers."""
        networks = read_networks({"0.0.0.0/0": "world", "10.0.0.0/8": "own"})

        assert [id_ for _, id_ in networks] == ["own", "world"]
        with pytest.raises(ConfigurationError, match="CLARION_INTAKE_NETWORKS"):
            read_networks({"10.0.0.1/8": "own"})

    async def test_strangers_write_to_the_enrolled_alone(self, make_intake: MakeIntake) -> None:
        """A mail exchanger for some is not a relay to all."""
        intake = await make_intake(intake_networks=HERE)
        await intake.registrar.principal("site", "Site", [], {"relays": True})
        await intake.registrar.recipient(ADA, None, {}, {})
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            await talk.say("MAIL FROM:<stranger@example.com>")
            enrolled, other = await talk.say(f"RCPT TO:<{ADA}>"), await talk.say(f"RCPT TO:<{BEN}>")
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            logged_in = await talk.mail(BEN)

        assert enrolled.startswith("250")
        assert other.startswith("550 5.7.1")
        assert logged_in.startswith("250")

    async def test_over_its_quota_a_sender_waits(self, make_intake: MakeIntake) -> None:
        """One loop that went wild must not take the service from the others."""
        intake = await make_intake(rate=0.001, burst=2)
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            replies = [await talk.mail(ADA) for _ in range(2)] + [await talk.say("MAIL FROM:<a@b.example>")]

        assert [reply[:9] for reply in replies] == ["250 2.0.0", "250 2.0.0", "450 4.7.1"]

    async def test_the_key_s_use_is_noted(self, intake: Intake, client: Client) -> None:
        """Who rotates keys asks which are still in use."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
        (before,) = await client.query("principals")
        await intake.uses.write()
        (after,) = await client.query("principals")

        assert before["used_at"] is None
        assert after["used_at"] is not None


class Mailbox:
    """Takes what comes to addresses of our own."""

    def __init__(self) -> None:
        self.returned: list[tuple[Returned, bytes]] = []
        self.error: Exception | None = None

    async def __call__(self, returned: Returned, mail: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.returned.append((returned, mail))


class TestReturned:
    async def test_a_report_comes_from_anybody_to_an_address_that_we_gave_out(self, make_intake: MakeIntake) -> None:
        """Receivers that report know no key of ours."""
        mailbox = Mailbox()
        intake = await make_intake(returned=mailbox)
        async with intake.talk() as talk:
            await talk.say("EHLO mx.example")
            reply = await talk.mail(intake.parts.addresses.make("bounce", 77), sender="")
        ((returned, mail),) = mailbox.returned

        assert reply == "250 2.0.0 accepted"
        assert returned == Returned("bounce", 77)
        assert stamped(mail) == Trace("127.0.0.1", "mx.example", "")
        assert mail.endswith(b"\r\n" + MAIL)
        assert await intake.count() == 0

    async def test_an_address_that_we_did_not_give_out_takes_nothing(self, make_intake: MakeIntake) -> None:
        """Whoever could forge one could mark a mail as bounced."""
        intake = await make_intake(returned=Mailbox())
        address = intake.parts.addresses.make("reply", 77)
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.say("MAIL FROM:<>")
            forged = await talk.say(f"RCPT TO:<{address.replace('+', '+1')}>")

        assert forged.startswith("550 5.1.1")

    async def test_without_a_reader_they_take_nothing(self, intake: Intake) -> None:
        """A mail that nobody reads must not be answered 250."""
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            await talk.say("MAIL FROM:<>")

            assert (await talk.say(f"RCPT TO:<{intake.parts.addresses.make('reply', 1)}>")).startswith("550 5.1.1")

    async def test_one_of_them_at_a_time(self, make_intake: MakeIntake) -> None:
        """Each 250 is about one thing that was done."""
        intake = await make_intake(returned=Mailbox())
        ours = [intake.parts.addresses.make("bounce", number) for number in (1, 2)]
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            replies = []
            for pair in ((ours[0], ours[1]), (ours[0], ADA), (ADA, ours[0])):
                await talk.say("RSET")
                await talk.say("MAIL FROM:<>")
                replies += [await talk.say(f"RCPT TO:<{address}>") for address in pair]

        assert [reply[:9] for reply in replies] == ["250 2.1.5", "452 4.5.3"] * 3

    @pytest.mark.parametrize(
        ("error", "reply"),
        [
            (ValueError("x"), "451 4.3.0"),
            (Refusal("550 5.7.1 No"), "550 5.7.1 No"),
            (BrokerUnavailable("x"), "451 4.3.0"),
        ],
    )
    async def test_what_its_reader_raises_is_answered(
        self, make_intake: MakeIntake, error: Exception, reply: str
    ) -> None:
        """It comes again, unless the reader does not want it."""
        mailbox = Mailbox()
        mailbox.error = error
        intake = await make_intake(returned=mailbox)
        async with intake.talk() as talk:
            await talk.say("EHLO x")

            assert (await talk.mail(intake.parts.addresses.make("reply", 1))).startswith(reply)


class Failing:
    """A broker that does not take mail."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def accept(self, _: Submission) -> Accepted:
        if self._error is None:
            await asyncio.Event().wait()
        raise self._error or AssertionError


class TestTrouble:
    @pytest.mark.parametrize(
        ("error", "reply"),
        [
            (BrokerUnavailable("x"), "451 4.3.0 The queue does not answer"),
            (Refused("storage"), "452 4.3.1"),
            (Refused("too_large"), "552 5.3.4"),
            (Refused("denied"), "451 4.3.0"),
            (None, "451 4.3.0 It is not known"),
        ],
    )
    async def test_a_mail_that_is_not_kept_comes_again(
        self, make_intake: MakeIntake, error: Exception | None, reply: str
    ) -> None:
        """4yz, so that the sender's server keeps it meanwhile."""
        intake = await make_intake()
        keys = intake.registrar
        failing = Acceptance(Failing(error), keys.content, keys.lookup, "gate.example", lambda: 0.0, patience=0.05)
        intake = await make_intake(parts={"acceptance": failing})
        async with intake.talk() as talk:
            await talk.log_in(intake.key)

            assert (await talk.mail(ADA)).startswith(reply)
            assert (await talk.say("NOOP")).startswith("250")

    async def test_while_the_broker_is_away_the_sender_is_told(self, intake: Intake, broker: BrokerProcess) -> None:
        """And afterwards it goes on without a restart."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            broker.stop()
            away = await talk.mail(ADA)
            broker.start()
            await Client.connect(broker.socket)
            back = await talk.mail(ADA)

        assert away.startswith("451 4.3.0")
        assert back.startswith("250")


def test_half_a_certificate_is_none(tmp_path: Path) -> None:
    """Without STARTTLS keys would go in the clear while the operator thinks otherwise."""
    with pytest.raises(ConfigurationError, match="belong together"):
        read_tls(tmp_path / "a", None)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_tls(tmp_path / "a", tmp_path / "b")


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
