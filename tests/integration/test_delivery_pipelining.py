"""MAIL, RCPT and DATA in one round trip where the receiver can (RFC 2920), and whatever it then answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from serving.errors import Temporary
from serving.pipeline import Sent, Undeliverable
from tests.integration.test_delivery import MAIL, History, delivery, work

STUFFED = MAIL.replace(b"\r\n.", b"\r\n..") + b".\r\n"
GROUP = [b"MAIL FROM:<clarion@clarion.example>", b"RCPT TO:<bob@receiver.example>", b"DATA"]
AGREED = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n"


@dataclass
class Talk:
    """One connection, from its end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def hear(self) -> bytes:
        """The next line; empty where the other has closed."""
        try:
            return (await self.reader.readline()).rstrip(b"\r\n")
        except ConnectionError:
            return b""

    async def hear_content(self) -> bytes:
        return await self.reader.readuntil(b"\r\n.\r\n")


Script = Callable[[Talk], Awaitable[None]]


@dataclass
class Scripted:
    """A receiver that greets, and then does what is written for the connection."""

    port: int
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def receiver(script: Script, *, extensions: bytes = b"PIPELINING") -> AsyncIterator[Scripted]:
    """It until the block is left; what the script raises is raised there."""
    found, tasks = Scripted(0), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk, found.connections = Talk(reader, writer), found.connections + 1
        talk.say(b"220 receiver.example\r\n")
        await talk.hear()
        talk.say(b"250-receiver.example\r\n250 " + extensions + b"\r\n")
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            await script(talk)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)


async def test_all_is_said_before_anything_is_answered() -> None:
    """A receiver on another continent answers once instead of three times: urgent mail has no time to lose."""
    contents: list[bytes] = []

    async def script(talk: Talk) -> None:
        assert [await talk.hear() for _ in GROUP] == GROUP
        talk.say(AGREED)
        contents.append(await talk.hear_content())
        talk.say(b"250 2.0.0 kept\r\n")

    async with receiver(script) as there:
        outcome = await delivery(there.port).handle(work(History([])))

    assert isinstance(outcome, Sent)
    assert outcome.receipt.text == "2.0.0 kept"
    assert contents == [STUFFED]


async def test_a_receiver_that_cannot_is_asked_one_thing_at_a_time() -> None:
    """Not every server reads on while it answers; to one that has not said so, a group is an attack."""

    async def script(talk: Talk) -> None:
        for line, answer in zip(GROUP, AGREED.splitlines(keepends=True), strict=True):
            assert await talk.hear() == line
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.reader.read(1), 0.05)
            talk.say(answer)
        assert await talk.hear_content() == STUFFED
        talk.say(b"250 2.0.0 kept\r\n")

    async with receiver(script, extensions=b"8BITMIME") as there:
        outcome = await delivery(there.port).handle(work(History([])))

    assert isinstance(outcome, Sent)


@pytest.mark.parametrize("pause", [0.0, 0.002])
async def test_replies_are_put_together_however_they_come(pause: float) -> None:
    """TCP knows no lines; a reply may have several."""

    async def script(talk: Talk) -> None:
        for _ in GROUP:
            await talk.hear()
        for octet in b"250-2.1.0 well\r\n250 2.1.0 ok\r\n250\r\n354 go on\r\n":
            talk.say(bytes([octet]))
            await asyncio.sleep(pause)
        await talk.hear_content()
        for octet in b"250-2.0.0 kept\r\n250-2.0.0 and\r\n250 2.0.0 thanked for\r\n":
            talk.say(bytes([octet]))
            await asyncio.sleep(pause)

    async with receiver(script) as there:
        outcome = await delivery(there.port).handle(work(History([])))

    assert isinstance(outcome, Sent)
    assert outcome.receipt.text == "2.0.0 kept 2.0.0 and 2.0.0 thanked for"


async def test_the_first_refusal_counts_and_the_connection_serves_on() -> None:
    """What is answered to DATA after a refusal is its consequence, and says nothing of the recipient."""
    history = History([])

    async def script(talk: Talk) -> None:
        for _ in GROUP:
            await talk.hear()
        talk.say(b"250 ok\r\n550 5.1.1 unknown\r\n554 5.5.1 no valid recipients\r\n")
        assert await talk.hear() == b"RSET"
        talk.say(b"250 ok\r\n")
        for _ in GROUP:
            await talk.hear()
        talk.say(AGREED)
        await talk.hear_content()
        talk.say(b"250 kept\r\n")

    async with receiver(script) as there:
        stage = delivery(there.port)
        refused = await stage.handle(work(history))
        assert history.facts == {}
        sent = await stage.handle(work(history))

    assert refused == Undeliverable("550 5.1.1 unknown")
    assert isinstance(sent, Sent)
    assert there.connections == 1


async def test_a_refusing_receiver_that_waits_for_the_content_gets_none() -> None:
    """Even a dot alone could be delivered to somebody as a mail of nothing."""
    rest: list[bytes] = []

    async def script(talk: Talk) -> None:
        for _ in GROUP:
            await talk.hear()
        talk.say(b"250 ok\r\n451 4.7.1 greylisted\r\n354 go on\r\n")
        rest.append(await talk.reader.read())

    async with receiver(script) as there:
        with pytest.raises(Temporary, match=r"451 4\.7\.1 greylisted"):
            await delivery(there.port).handle(work(History([])))

    assert rest == [b""]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"421 4.3.2 going down\r\n", "421 4.3.2 going down"),
        (b"250 ok\r\n421 4.3.2 going down\r\n", "421 4.3.2 going down"),
        (b"450 4.2.1 busy\r\n", "450 4.2.1 busy"),
        (b"250 ok\r\n", "broke before the content was sent"),
        (b"250 ok\r\n250 o", "broke before the content was sent"),
        (b"what?\r\n", "no reply: what"),
        (b"2500 ok\r\n", "no reply: 2500"),
        (b"250-ok\r\n" * 10_000, "a reply without end"),
        (b"2" * 100_000, "a reply without end"),
        (AGREED + b"250 2.0.0 kept\r\n", "a reply that nobody asked for"),
        (AGREED + b"250-", "a reply that nobody asked for"),
    ],
)
async def test_a_receiver_that_breaks_off_or_talks_out_of_turn_is_tried_again(said: bytes, reason: str) -> None:
    """Above all its 250 to something else is not the 250 to a mail that it does not have."""
    rest: list[bytes] = []

    async def script(talk: Talk) -> None:
        for _ in GROUP:
            await talk.hear()
        talk.say(said)
        if said.startswith(AGREED):
            rest.append(await talk.reader.read())

    async with receiver(script) as there:
        with pytest.raises(Temporary, match=reason):
            await delivery(there.port).handle(work(History([])))

    assert rest in ([], [b""])


@pytest.mark.parametrize("answered", [b"", b"250 ok\r\n", b"250 ok\r\n451 4.3.0 later\r\n"])
async def test_a_receiver_that_falls_silent_is_left(answered: bytes) -> None:
    """Its connection is out of step for good; a refusal that it gave before is the reason all the same."""
    rest: list[bytes] = []

    async def script(talk: Talk) -> None:
        for _ in GROUP:
            await talk.hear()
        talk.say(answered)
        rest.append(await talk.reader.read())

    reason = "451 4.3.0 later" if b"451" in answered else "broke before the content was sent"
    async with receiver(script) as there:
        with pytest.raises(Temporary, match=reason):
            await delivery(there.port).handle(work(History([])))

    assert rest == [b""]


async def _take(talk: Talk) -> None:
    for _ in GROUP[1:]:
        await talk.hear()
    talk.say(AGREED)
    await talk.hear_content()
    talk.say(b"250 kept\r\n")


async def test_only_a_connection_that_lay_idle_is_asked_whether_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail just taken is the answer already; later the receiver may be gone without a word."""
    heard: list[bytes] = []
    now = [1000.0]

    async def script(talk: Talk) -> None:
        for _ in range(4):
            heard.append(await talk.hear())
            if heard[-1] == b"RSET":
                talk.say(b"250 ok\r\n")
            else:
                await _take(talk)

    monkeypatch.setattr("serving.delivery.connections.time.monotonic", lambda: now[0])
    async with receiver(script) as there:
        stage = delivery(there.port)
        for wait in (0.0, 0.9, 1.0):
            now[0] += wait
            assert isinstance(await stage.handle(work(History([]))), Sent)

    assert heard == [GROUP[0], GROUP[0], b"RSET", GROUP[0]]


async def test_the_library_has_the_connection_back_and_knows_that_it_was_lost() -> None:
    """A connection that ends within a transaction or after it is not lent again."""

    async def script(talk: Talk) -> None:
        await talk.hear()
        await _take(talk)

    async with receiver(script) as there:
        stage = delivery(there.port)
        assert isinstance(await stage.handle(work(History([]))), Sent)
        await asyncio.sleep(0.05)
        assert isinstance(await stage.handle(work(History([]))), Sent)

    assert there.connections == 2


@pytest.mark.parametrize("more", [b"250 2.0.0 and once more\r\n", b"250-", b"x"])
async def test_a_connection_with_words_left_on_it_is_not_used_again(more: bytes) -> None:
    """They would answer the next mail's commands."""

    async def script(talk: Talk) -> None:
        await talk.hear()
        for _ in GROUP[1:]:
            await talk.hear()
        talk.say(AGREED)
        await talk.hear_content()
        talk.say(b"250 kept\r\n" + more)
        assert await talk.hear() == b""

    async with receiver(script) as there:
        stage = delivery(there.port)
        for _ in range(2):
            assert isinstance(await stage.handle(work(History([]))), Sent)

    assert there.connections == 2
