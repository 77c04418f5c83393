"""Clients that dawdle or go away, and an intake that stops: nobody waits for ever, and no mail is lost."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serving.intake.acceptance import Acceptance
from serving.intake.door import Door, Patience
from serving.intake.server import Server
from tests.intakes import MAIL, Dialogue, Intake, MakeIntake, Slow, answers

ADA = "ada@example.net"
Eventually = Callable[..., Awaitable[None]]


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

    async def test_silence_begins_anew_with_each_command(self, make_intake: MakeIntake) -> None:
        """Who goes on is never sent away for it; who stops is, no sooner and not much later than after that time."""
        intake = await make_intake(parts={"patience": Patience(idle=0.5)})
        loop = asyncio.get_running_loop()
        async with intake.talk() as talk:
            for _ in range(6):
                assert (await talk.say("NOOP")).startswith("250")
                await asyncio.sleep(0.25)
            begin = loop.time() - 0.25

            assert (await talk.reply()).startswith("421 4.4.2")
            assert 0.45 < loop.time() - begin < 5.0

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
