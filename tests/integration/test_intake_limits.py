"""Clients that err, flood or cheat: each is bounded, is told with the usual code, and takes nothing away."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from serving.intake.acceptance import Acceptance
from serving.intake.connection import LONGEST_COMMAND, MOST_ERRORS, MOST_IDLE_COMMANDS
from serving.intake.door import Door
from serving.intake.session import MOST_RECIPIENTS
from tests.intakes import MAIL, Dialogue, Intake, MakeIntake, Slow, answers, plain

ADA = "ada@example.net"
Eventually = Callable[..., Awaitable[None]]


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
            replies = [(await talk.say(f"RCPT TO:<a{n}@example.net> {words}"))[:9] for n in range(600)]

        assert replies.count("250 2.1.5") in range(450, 550)
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

    async def test_strangers_who_hold_all_that_they_can_keep_no_senders_mail_outside(
        self, make_intake: MakeIntake, eventually: Eventually
    ) -> None:
        """Whoever ever got a mail of ours knows an address that takes mail from anybody, as slowly as they like."""

        async def keep(*_: object) -> None:
            return None

        intake = await make_intake(returned=keep, parts={"door": Door(10, 10, most_held=100_000)})
        async with intake.talk() as slow, intake.talk() as second, intake.talk() as talk:
            for stranger in (slow, second):
                await stranger.say("EHLO mx.example")
                await stranger.begin(intake.parts.addresses.make("bounce", 77), sender="")
                await stranger.send(b"x" * 20_000)
            await eventually(lambda: _is_full_of_strangers(intake.parts.door))
            await talk.log_in(intake.key)
            accepted = await talk.mail(ADA, mail=MAIL + b"y\r\n" * 20_000)

        assert accepted.startswith("250")

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


def _is_full_of_strangers(door: Door) -> bool:
    has_room = door.hold(6_000, stranger=True)
    if has_room:
        door.let_go(6_000, stranger=True)
    return not has_room


class From(Dialogue):
    """A client on another address of this machine."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(port)
        self._own = address

    async def __aenter__(self) -> "From":
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port, local_addr=(self._own, 0))
        self.greeting = await self.reply()
        return self
