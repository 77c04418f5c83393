"""Clients that err, dawdle, flood or cheat: each is bounded, is told with the usual code, and takes nothing away."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from serving.intake.acceptance import Acceptance
from serving.intake.connection import LONGEST_COMMAND, MOST_ERRORS, MOST_IDLE_COMMANDS
from serving.intake.door import Door, Patience
from serving.intake.server import Server
from serving.intake.session import MOST_RECIPIENTS
from serving.queue.client import Accepted, Client, Submission
from tests.intakes import MAIL, Dialogue, Intake, MakeIntake, intakes, plain, self_signed

ADA = "ada@example.net"
Eventually = Callable[..., Awaitable[None]]


@pytest.fixture
async def make_intake(client: Client, tmp_path: Path) -> AsyncIterator[MakeIntake]:
    async with intakes(client, tmp_path) as make:
        yield make


@pytest.fixture
async def intake(make_intake: MakeIntake) -> Intake:
    made: Intake = await make_intake()
    return made


async def answers(intake: Intake) -> bool:
    """Whether others are served."""
    async with intake.talk() as talk:
        await talk.log_in(intake.key)
        return (await talk.mail(ADA)).startswith("250")


class TestCommands:
    async def test_ehlo_offers_what_there_is(self, intake: Intake) -> None:
        """Here AUTH without TLS: the key never leaves this machine."""
        async with intake.talk() as talk:
            offered = await talk.say("EHLO x")

            assert talk.greeting == "220 gate.example Clarion"
        assert offered.split("\n") == [
            "250-gate.example",
            "250-SIZE 26214400",
            "250-8BITMIME",
            "250-PIPELINING",
            "250-ENHANCEDSTATUSCODES",
            "250-DSN",
            "250-SMTPUTF8",
            "250 AUTH PLAIN LOGIN",
        ]

    @pytest.mark.parametrize(
        ("command", "reply"),
        [
            ("MAIL FROM:<a@b.example>", "503 5.5.1 Say EHLO first"),
            ("EHLO", "501 5.5.4"),
            ("WHAT", "500 5.5.2"),
            ("", "500 5.5.2"),
            (b"\xff\xfe", "500 5.5.2"),
            ("RCPT TO:<a@b.example>", "503 5.5.1"),
            ("DATA", "503 5.5.1"),
            ("STARTTLS", "454"),
            ("VRFY ada", "252 2.5.0"),
            ("EXPN all", "502 5.5.1"),
            ("HELP", "214 2.0.0"),
            ("NOOP x", "250 2.0.0"),
            ("RSET", "250 2.0.0"),
            ("QUIT", "221 2.0.0"),
            (b"NOOP " + b"x" * LONGEST_COMMAND, "500 5.5.2"),
        ],
    )
    async def test_each_command_has_its_code(self, intake: Intake, command: str, reply: str) -> None:
        """With an enhanced one, as ENHANCEDSTATUSCODES promises."""
        async with intake.talk() as talk:
            assert (await talk.say(command)).startswith(reply)

    async def test_commands_may_come_together(self, intake: Intake) -> None:
        """PIPELINING (RFC 2920): the replies come in the commands' order, a second mail behind the first one's end."""
        envelope = f"MAIL FROM:<a@b.example>\r\nRCPT TO:<{ADA}>\r\nRCPT TO:<nobody>\r\nDATA\r\n".encode()
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.send(envelope + MAIL + b".\r\n" + envelope + MAIL + b"2\r\n.\r\nQUIT\r\n")
            replies = [(await talk.reply())[:3] for _ in range(11)]

        assert replies == ["250", "250", "553", "354", "250"] * 2 + ["221"]

    async def test_one_mail_after_the_other(self, intake: Intake) -> None:
        """And RSET forgets what had begun."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.say("MAIL FROM:<a@b.example>")
            nested = await talk.say("MAIL FROM:<a@b.example>")
            await talk.say("RSET")
            first = await talk.mail(ADA)
            second = await talk.mail(ADA, mail=MAIL + b"2\r\n")

        assert nested.startswith("503 5.5.1")
        assert first[:3] == second[:3] == "250"
        assert await intake.count() == 2


class TestTooMuch:
    async def test_ten_thousand_recipients_are_told_to_come_in_parts(self, intake: Intake) -> None:
        """RFC 5321 section 4.5.3.1.10: those that were taken get the mail, the others come again."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.say("MAIL FROM:<a@b.example>")
            await talk.send(b"".join(b"RCPT TO:<a%d@example.net>\r\n" % number for number in range(10_000)))
            replies = [(await talk.reply())[:9] for _ in range(10_000)]
            await talk.say("DATA")
            await talk.send(MAIL + b".\r\n")
            kept = await talk.reply()

        assert replies == ["250 2.1.5"] * MOST_RECIPIENTS + ["452 4.5.3"] * (10_000 - MOST_RECIPIENTS)
        assert kept.startswith("250")
        assert await intake.count() == MOST_RECIPIENTS

    async def test_many_long_orcpt_are_too_many_recipients(self, intake: Intake) -> None:
        """They lie in the stored header, which must stay readable."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.say("MAIL FROM:<a@b.example>")
            words = f"ORCPT=rfc822;{'x' * 480}"
            replies = [(await talk.say(f"RCPT TO:<a{n}@example.net> {words}"))[:9] for n in range(150)]

        assert replies.count("250 2.1.5") in range(100, 140)
        assert replies[-1] == "452 4.5.3"

    async def test_a_mail_over_the_size_is_refused_and_the_next_is_taken(self, make_intake: MakeIntake) -> None:
        """Said or not: 552, and the connection goes on."""
        intake = await make_intake(max_body=10_000)
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            said = await talk.say("MAIL FROM:<a@b.example> SIZE=10001")
            sent = await talk.mail(ADA, mail=MAIL + b"x\r\n" * 100_000)
            small = await talk.mail(ADA)

        assert said.startswith("552 5.3.4")
        assert sent.startswith("552 5.3.4")
        assert small.startswith("250")

    async def test_a_line_without_end_is_refused_when_the_mail_has_one(self, intake: Intake) -> None:
        """A few megabytes of it, and memory for no more than a mail."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            reply = await talk.mail(ADA, mail=MAIL + b"x" * 3_000_000 + b"\r\n")

        assert reply.startswith("554 5.6.0")

    async def test_a_command_without_end_is_refused(self, intake: Intake) -> None:
        """And the next command is read."""
        async with intake.talk() as talk:
            await talk.send(b"EHLO " + b"x" * 1_000_000)

            assert (await talk.say("x")).startswith("500 5.5.2")
            assert (await talk.say("NOOP")).startswith("250")

    async def test_a_login_without_end_ends_the_connection(self, intake: Intake) -> None:
        """Nothing waits for the end of such a line."""
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            await talk.say("AUTH PLAIN")
            await talk.send(b"x" * 300_000)

            assert (await talk.reply()).startswith("421 5.5.6")

    async def test_too_many_errors_end_the_connection(self, intake: Intake) -> None:
        """Whoever guesses recipients or commands has to come again for each score."""
        async with intake.talk() as talk:
            replies = [await talk.say("WHAT") for _ in range(MOST_ERRORS)]
            last, end = await talk.reply(), await talk.reply()

        assert {reply[:3] for reply in replies} == {"500"}
        assert last.startswith("421 4.7.0")
        assert end == ""

    async def test_what_is_sent_behind_the_last_error_is_not_done(self, intake: Intake) -> None:
        """Even where it is in our hands already."""
        rest = f"AUTH PLAIN {plain(intake.key)}\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<{ADA}>\r\nDATA\r\n".encode()
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            await talk.send(b"WHAT\r\n" * MOST_ERRORS + rest + MAIL + b".\r\n")
            replies = [await talk.reply() for _ in range(MOST_ERRORS + 2)]

        assert replies[-2].startswith("421")
        assert replies[-1] == ""
        assert await intake.count() == 0

    async def test_too_many_commands_without_a_mail_end_the_connection(self, intake: Intake) -> None:
        """A connection is for mail; each one resets the count."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            for _ in range(3):
                for _ in range(MOST_IDLE_COMMANDS // 2):
                    assert (await talk.say("RSET")).startswith("250")
                assert (await talk.mail(ADA)).startswith("250")
            replies = [await talk.say("NOOP") for _ in range(MOST_IDLE_COMMANDS + 1)]

        assert replies[-1].startswith("421 4.7.0")

    async def test_too_many_connections_are_sent_away_and_come_again(
        self, make_intake: MakeIntake, eventually: Eventually
    ) -> None:
        """Of one address, so that it leaves room for others; and in all."""
        intake = await make_intake(intake_connections=4, intake_connections_each=3)
        async with AsyncExitStack() as talks:
            mine = [await talks.enter_async_context(intake.talk()) for _ in range(4)]
            other = await talks.enter_async_context(From("127.0.0.2", intake.port))
            last = await talks.enter_async_context(From("127.0.0.3", intake.port))
            end = await last.reply()

        assert [talk.greeting[:9] for talk in mine] == ["220 gate."] * 3 + ["421 4.7.0"]
        assert other.greeting.startswith("220")
        assert (last.greeting[:9], end) == ("421 4.3.2", "")
        await eventually(lambda: answers(intake))

    async def test_while_others_hold_the_memory_a_mail_waits_outside(
        self, make_intake: MakeIntake, eventually: Eventually
    ) -> None:
        """452 before it is sent, or once it does not fit; and room again when the others are gone."""
        intake = await make_intake(parts={"door": Door(10, 10, most_held=100_000)})
        async with intake.talk() as talk, intake.talk() as other:
            await talk.log_in(intake.key)
            await talk.begin(ADA)
            await talk.send(b"x" * 90_000)
            await other.log_in(intake.key)
            await eventually(lambda: not intake.parts.door.hold(20_000))
            too_much = await other.mail(ADA, mail=MAIL + b"y\r\n" * 20_000)
            await talk.send(b"x" * 9_999)
            await eventually(lambda: not intake.parts.door.hold(10))
            intake.parts.door.hold(1)
            outside = await other.mail(ADA)
            intake.parts.door.let_go(1)

        assert too_much.startswith("452 4.3.1")
        assert outside.startswith("452 4.3.1")
        await eventually(lambda: answers(intake))

    async def test_only_so_many_mails_wait_for_the_store(self, make_intake: MakeIntake) -> None:
        """A slow disk must not fill the memory with mail."""
        slow = Slow()
        first = await make_intake()
        keys = first.registrar
        acceptance = Acceptance(slow, keys.content, keys.lookup, "gate.example", lambda: 0.0)
        intake = await make_intake(parts={"acceptance": acceptance, "door": Door(9, 9, most_waiting=1)})
        async with intake.talk() as talk, intake.talk() as other:
            await talk.log_in(intake.key)
            await other.log_in(intake.key)
            await other.begin(ADA)
            waiting = asyncio.create_task(talk.mail(ADA))
            await slow.asked.wait()
            await other.send(MAIL + b".\r\n")
            busy, begun = await other.reply(), await other.mail(ADA)
            slow.go_on.set()

            assert (await waiting).startswith("250")
        assert busy.startswith("452 4.3.1")
        assert begun.startswith("452 4.3.1")


class TestTooSlow:
    @pytest.mark.parametrize("begun", [[], ["EHLO x"], ["EHLO x", "AUTH LOGIN"], ["login", "MAIL FROM:<a@b.example>"]])
    async def test_who_says_nothing_is_sent_away(self, make_intake: MakeIntake, begun: list[str]) -> None:
        """With 421, at any point."""
        intake = await make_intake(parts={"patience": Patience(idle=0.3)})
        async with intake.talk() as talk:
            for words in begun:
                await (talk.log_in(intake.key) if words == "login" else talk.say(words))

            assert (await talk.reply()).startswith("421 4.4.2")
            assert await talk.reply() == ""

    async def test_who_never_ends_a_mail_is_sent_away(self, make_intake: MakeIntake, eventually: Eventually) -> None:
        """However diligently it sends a little; and what it sent holds no memory."""
        intake = await make_intake(parts={"patience": Patience(idle=5.0, mail=0.5), "door": Door(9, 9, most_held=100)})
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.begin(ADA)
            reply = asyncio.create_task(talk.reply())
            while not reply.done():
                talk.writer.write(b"x")
                await asyncio.sleep(0.05)

            assert (await reply).startswith("421 4.4.2")
        await eventually(lambda: intake.parts.door.hold(100))

    async def test_a_connection_has_an_end(self, make_intake: MakeIntake) -> None:
        """However short its silences are."""
        intake = await make_intake(parts={"patience": Patience(connection=1.0)})
        async with intake.talk() as talk:
            assert (await talk.log_in(intake.key)).startswith("235")
            assert (await talk.reply()).startswith("421 4.4.2")
            assert await talk.reply() == ""

    async def test_who_reads_nothing_is_sent_away(self, make_intake: MakeIntake, eventually: Eventually) -> None:
        """Its replies must not fill our memory, nor its connection stay for ever."""
        intake = await make_intake(parts={"patience": Patience(idle=0.3)}, intake_connections=1)
        talk = intake.talk()
        await talk.__aenter__()
        for _ in range(90):
            talk.writer.write(b"HELP\r\n")
        talk.writer.transport.pause_reading()

        await eventually(lambda: answers(intake))
        talk.writer.close()

    async def test_a_client_that_goes_away_leaves_nothing(self, intake: Intake, eventually: Eventually) -> None:
        """Half a mail is no mail."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.begin(ADA)
            await talk.send(MAIL)
        await eventually(lambda: answers(intake))

        assert await intake.count() == 1


class TestTls:
    @pytest.fixture
    async def tls(self, make_intake: MakeIntake, tmp_path: Path) -> Intake:
        certificate, key = self_signed(tmp_path)
        made: Intake = await make_intake(intake_certificate=certificate, intake_key=key)
        return made

    async def encrypt(self, talk: Dialogue) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await asyncio.wait_for(talk.writer.start_tls(context), 10.0)

    async def test_mail_comes_over_tls(self, tls: Intake) -> None:
        """And its trace says so; after the handshake all begins anew."""
        async with tls.talk() as talk:
            before = await talk.log_in(tls.key)
            started = await talk.say("STARTTLS")
            await self.encrypt(talk)
            forgotten = await talk.say("MAIL FROM:<a@b.example>")
            offered = await talk.say("EHLO client.example")
            await talk.log_in(tls.key)
            kept = await talk.mail(ADA)
            again = await talk.say("STARTTLS")
        (lease,) = await tls.stored(1)

        assert (before[:3], started[:3], kept[:3]) == ("235", "220", "250")
        assert forgotten.startswith("503 5.5.1")
        assert "STARTTLS" not in offered
        assert "AUTH PLAIN LOGIN" in offered
        assert again.startswith("503 5.5.1")
        assert b"with ESMTPSA; " in tls.opened(lease)

    async def test_what_is_sent_before_the_handshake_is_never_read_after_it(self, tls: Intake) -> None:
        """Somebody on the way could put commands there that count as encrypted (CVE-2011-0411)."""
        async with tls.talk() as talk:
            await talk.say("EHLO x")
            await talk.send(b"STARTTLS\r\nEHLO injected\r\nNOOP\r\n")
            assert (await talk.reply()).startswith("220")
            await self.encrypt(talk)
            first = await talk.say("MAIL FROM:<a@b.example>")

        assert first == "503 5.5.1 Say EHLO first"

    async def test_a_handshake_that_fails_ends_the_connection(self, tls: Intake, eventually: Eventually) -> None:
        """And nothing else."""
        async with tls.talk() as talk:
            await talk.say("STARTTLS")
            await talk.send(b"this is no TLS\r\n" * 10)
            while await asyncio.wait_for(talk.reader.read(4096), 10.0):
                pass
        await eventually(lambda: answers(tls))

    async def test_elsewhere_a_key_needs_tls(self, make_intake: MakeIntake, tmp_path: Path) -> None:
        """A key that was sent in the clear belongs to whoever listened."""
        certificate, key = self_signed(tmp_path)
        far = {"is_near": lambda _: False}
        tls = await make_intake(parts=far, intake_certificate=certificate, intake_key=key)
        async with tls.talk() as talk:
            offered, refused = await talk.say("EHLO x"), await talk.say(f"AUTH PLAIN {plain(tls.key)}")
            await talk.say("STARTTLS")
            await self.encrypt(talk)
            logged_in = await talk.log_in(tls.key)

        assert "AUTH" not in offered
        assert refused.startswith("538 5.7.11")
        assert logged_in.startswith("235")


class TestStopping:
    async def test_what_waits_for_the_store_is_answered_and_the_rest_is_sent_away(
        self, make_intake: MakeIntake
    ) -> None:
        """A restart costs nobody a mail, nor a second copy."""
        slow = Slow()
        keys = (intake := await make_intake()).registrar
        parts = Acceptance(slow, keys.content, keys.lookup, "gate.example", lambda: 0.0)
        intake = await make_intake(parts={"acceptance": parts})
        server = Server(intake.parts)
        port = await server.listen("127.0.0.1", 0)
        async with Dialogue(port) as busy, Dialogue(port) as idle:
            await busy.log_in(intake.key)
            mailing = asyncio.create_task(busy.mail(ADA))
            await slow.asked.wait()
            closing = asyncio.create_task(server.close())
            sent_away = await idle.reply()
            slow.go_on.set()

            assert (await mailing).startswith("250")
            await closing
            assert (await busy.reply()).startswith("421 4.3.2")
        assert sent_away.startswith("421 4.3.2")


class Slow:
    """A broker that waits until it is told to go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def accept(self, submission: Submission) -> Accepted:
        self.asked.set()
        await self.go_on.wait()
        return Accepted(7, tuple(range(len(submission.recipients))), False)


class From(Dialogue):
    """A client on another address of this machine."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(port)
        self._own = address

    async def __aenter__(self) -> "From":
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port, local_addr=(self._own, 0))
        self.greeting = await self.reply()
        return self
