"""Pushes by Apprise against a real HTTP server: what is sent, what becomes of it, and that no URL is logged."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from serving.errors import ConfigurationError
from serving.escalation.chain import Push
from serving.escalation.push import MOST_EACH, Pushes
from serving.settings import Settings

SECRET = "token-4711"


@dataclass
class Channel:
    """Answers every request with this status, None for never; keeps what it got."""

    status: int | None = 200
    port: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        self.requests.append(head + await reader.readexactly(length))
        if self.status is not None:
            writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.status)
            await writer.drain()
        else:
            await reader.read()
        writer.close()

    @property
    def url(self) -> Push:
        """As a step of a chain names it."""
        return Push(f"json://127.0.0.1:{self.port}/{SECRET}")


@asynccontextmanager
async def listening(status: int | None) -> AsyncIterator[Channel]:
    channel = Channel(status)
    server = await asyncio.start_server(channel.serve, "127.0.0.1", 0)
    channel.port = server.sockets[0].getsockname()[1]
    async with server:
        yield channel


async def test_a_push_is_the_title_and_the_text_and_nothing_else() -> None:
    """What is said is decided by the stage; Apprise adds who it is from and how it is meant."""
    async with listening(200) as channel:
        result = await Pushes(["json"])(channel.url, "Urgent: Bank has written", "See\nhttps://gate.example/r/abc")
    (request,) = channel.requests
    body = json.loads(request.partition(b"\r\n\r\n")[2])

    assert result == "sent"
    assert (body["title"], body["message"]) == ("Urgent: Bank has written", "See\nhttps://gate.example/r/abc")
    assert (body["type"], body["attachments"]) == ("warning", [])


@pytest.mark.parametrize("status", [400, 403, 500, 503])
async def test_a_push_that_is_refused_has_failed(status: int) -> None:
    """It is tried again, a few times."""
    async with listening(status) as channel:
        assert await Pushes(["json"])(channel.url, "a", "b") == "failed"
    assert len(channel.requests) == 1


async def test_a_push_without_an_answer_may_have_been_sent() -> None:
    """The stage does not wait for ever, and nobody knows."""
    async with listening(None) as channel:
        assert await Pushes(["json"], timeout=0.5)(channel.url, "a", "b") == "unknown"
    assert len(channel.requests) == 1


async def test_channels_that_hang_keep_nobody_elses_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has a channel that answers for ever would else end the escalation of everybody."""
    async with listening(None) as hanging, listening(200) as channel:
        pushes = Pushes(["json"], timeout=0.2)
        said = [await pushes(Push(f"{hanging.url.url}/{number // 8}"), "a", "b") for number in range(40)]
        result = await Pushes(["json"])(channel.url, "a", "b")

    assert said.count("unknown") == 5 * MOST_EACH
    assert said.count("failed") == 40 - 5 * MOST_EACH
    assert result == "sent"
    assert not caplog.records


async def test_nobody_is_reached_where_nobody_listens() -> None:
    """A closed port is a failure like another."""
    async with listening(200) as channel:
        pass
    assert await Pushes(["json"])(channel.url, "a", "b") == "failed"


@pytest.mark.parametrize(
    "url", ["json://127.0.0.1:{}/x", "file:///etc/passwd", "syslog://", "dbus://", "windows://", "nonsense"]
)
async def test_a_scheme_that_is_not_allowed_sends_nothing(url: str) -> None:
    """A chain may be older than the setting."""
    async with listening(200) as channel:
        assert await Pushes(["jsons"])(Push(url.format(channel.port)), "a", "b") == "failed"
    assert channel.requests == []


@pytest.mark.parametrize("status", [200, 500])
async def test_nothing_of_a_url_is_logged(
    status: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It holds the token of the channel, and everybody reads logs."""
    with caplog.at_level(logging.DEBUG):
        pushes = Pushes(["json"])
        async with listening(status) as channel:
            await pushes(channel.url, "a", "b")
            await pushes(Push(f"json://127.0.0.1:1/{SECRET}"), "a", "b")
            await pushes(Push(f"json://{SECRET}:x@:99999/?{SECRET}"), "a", "b")
    captured = capfd.readouterr()

    assert SECRET not in caplog.text + captured.out + captured.err


def test_what_cannot_be_sent_is_found_when_a_chain_is_written() -> None:
    """And the message names the setting, and of the URL only its scheme."""
    pushes = Pushes(["json", "pover"])
    pushes.check(Push("json://127.0.0.1/x"))
    with pytest.raises(ConfigurationError, match=r"file:// is not allowed; CLARION_APPRISE_SCHEMES allows json, pover"):
        pushes.check(Push("file:///etc/passwd"))
    with pytest.raises(ConfigurationError, match=r"Apprise cannot read that pover:// URL") as refused:
        pushes.check(Push(f"pover://{SECRET}"))

    assert SECRET not in str(refused.value)


def test_every_scheme_that_is_allowed_is_one_that_apprise_knows() -> None:
    """And none writes to this machine, or runs anything on it, or speaks without TLS."""
    from apprise import Apprise

    details = Apprise().details()["schemas"]
    known = {name for each in details for name in (*(each["protocols"] or ()), *(each["secure_protocols"] or ()))}
    schemes = set(Settings().apprise_schemes)

    assert schemes <= known
    assert not schemes & {
        "file",
        "syslog",
        "dbus",
        "qt",
        "glib",
        "gnome",
        "macosx",
        "windows",
        "json",
        "xml",
        "form",
        "gotify",
        "ntfy",
        "mqtt",
    }
