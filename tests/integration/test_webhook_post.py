"""One attempt against a real receiver: what counts as told, and how little a bad receiver can do."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from serving.errors import Temporary
from serving.webhooks.places import Places
from serving.webhooks.post import Post, Reply
from tests.integration.webhook_receiver import HANGING_UP, OK, SILENCE, Receiver, Told, receiving, status
from tests.unit.key_directories import ADVANCED, DIRECT, key_directory

FIELDS = {"webhook-id": "msg_1"}
NOW = 1_800_000_000.0


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """On a free port."""
    async with receiving() as made:
        yield made


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    """Impatient, where something hangs."""
    made = Post(Places(), timeout=1.0, clock=lambda: NOW)
    yield made
    await made.close()


def always(answer: str) -> Callable[[Told], str]:
    return lambda _: answer


async def test_an_event_arrives_as_it_was_signed(receiver: Receiver, post: Post) -> None:
    """Target, fields and body are the receiver's, octet for octet."""
    reply = await post.send(receiver.url, FIELDS, b'{"a":1}')
    (told,) = receiver.told

    assert reply == Reply(True, "status 204")
    assert (told.target, told.body, told.id) == ("/hooks?from=clarion", b'{"a":1}', "msg_1")
    assert told.fields["host"] == f"127.0.0.1:{receiver.port}"
    assert told.fields["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (status("200 OK", body="thanks"), Reply(True, "status 200")),
        (status("302 Found", "Location: /elsewhere\r\n"), Reply(False, "status 302")),
        (status("404 Not Found"), Reply(False, "status 404")),
        (status("410 Gone"), Reply(False, "status 410", is_gone=True)),
        (status("500 Oops", body="trace"), Reply(False, "status 500")),
        (status("500 Oops", "Retry-After: 60\r\n"), Reply(False, "status 500", retry_after=60.0)),
        (status("429 Slow", "Retry-After: 9\r\n"), Reply(False, "status 429", is_throttled=True, retry_after=9.0)),
        (status("503 Away", "Retry-After: soon\r\n"), Reply(False, "status 503", is_throttled=True)),
        (
            status("503 Away", "Retry-After: Fri, 15 Jan 2027 08:02:00 GMT\r\n"),
            Reply(False, "status 503", is_throttled=True, retry_after=120.0),
        ),
        (HANGING_UP, Reply(False, "the connection failed (RemoteProtocolError)")),
        (SILENCE, Reply(False, "no answer within 1 s")),
        ("what is HTTP?\r\n\r\n", Reply(False, "the connection failed (RemoteProtocolError)")),
    ],
)
async def test_only_2xx_means_told(receiver: Receiver, post: Post, answer: str, reply: Reply) -> None:
    """And nothing else is asked for it: no redirect leads to anywhere, and nothing is repeated by the library."""
    receiver.answer = always(answer)

    assert await post.send(receiver.url, FIELDS, b"{}") == reply
    assert len(receiver.told) == 1


async def test_nobody_there_is_a_failure_in_words_of_ours(post: Post) -> None:
    """What a library says may hold an address."""
    async with receiving() as gone:
        url = gone.url

    assert await post.send(url, FIELDS, b"{}") == Reply(False, "the connection failed (ConnectError)")


async def test_an_answer_without_end_is_not_read_to_it(receiver: Receiver, post: Post) -> None:
    """Whoever is told by us must not fill our memory: 64 KiB are read, and the connection is given up."""
    receiver.answer = always("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + "x" * 200_000)

    assert await post.send(receiver.url, FIELDS, b"{}") == Reply(True, "status 200")
    receiver.answer = always(OK)
    assert (await post.send(receiver.url, FIELDS, b"{}")).is_told
    assert receiver.connections == 2


async def test_connections_are_used_again(receiver: Receiver, post: Post) -> None:
    """Ten thousand events are not ten thousand handshakes."""
    for _ in range(5):
        await post.send(receiver.url, FIELDS, b"{}")

    assert (len(receiver.told), receiver.connections) == (5, 1)


async def test_no_more_connections_than_were_allowed(receiver: Receiver) -> None:
    """A receiver is not run over."""
    post = Post(Places(), connections=2)
    await asyncio.gather(*(post.send(receiver.url, FIELDS, b"{}") for _ in range(20)))
    await post.close()

    assert receiver.connections == receiver.most == 2


async def test_the_log_does_not_name_where_it_went(
    receiver: Receiver, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """A path may be all the secret that a receiver has."""
    with caplog.at_level(logging.INFO):
        await post.send(receiver.url, FIELDS, b"{}")

    assert "HTTP/1.1 204" in caplog.text
    assert "hooks" not in caplog.text


async def test_the_certificate_must_be_the_hosts_though_an_address_is_connected_to(tmp_path: Path) -> None:
    """Connecting to what was judged must not mean to trust whoever sits there."""
    async with key_directory(tmp_path, b"") as home:

        async def resolve(_: str) -> tuple[str, ...]:
            return ("127.0.0.1",)

        places = Places(("127.0.0.0/8",), resolve=resolve)
        replies = []
        for host in (DIRECT, ADVANCED, "other.example"):
            post = Post(places, tls=home.trusted)
            replies.append(await post.send(f"https://{host}:{home.port}/", FIELDS, b""))
            await post.close()

    assert [reply.is_told for reply in replies] == [True, True, False]
    assert [host for host, _ in home.published.asked] == [f"{DIRECT}:{home.port}", f"{ADVANCED}:{home.port}"]


async def test_the_next_address_is_tried_where_one_cannot_be_connected_to(tmp_path: Path) -> None:
    """A host whose version 6 address is dead is no dead host."""
    async with key_directory(tmp_path, b"") as home:

        async def resolve(_: str) -> tuple[str, ...]:
            return ("127.0.0.9", "127.0.0.1")

        post = Post(Places(("127.0.0.0/8",), resolve=resolve), tls=home.trusted)
        reply = await post.send(f"https://{DIRECT}:{home.port}/", FIELDS, b"")
        await post.close()

    assert reply.is_told


async def test_a_silent_dns_is_a_failure_like_any_other() -> None:
    """It is tried again; nothing is given up for it."""

    async def resolve(_: str) -> tuple[str, ...]:
        raise Temporary("the DNS does not answer")

    post = Post(Places(resolve=resolve))
    reply = await post.send("https://hooks.example/", FIELDS, b"{}")
    await post.close()

    assert reply == Reply(False, "the DNS does not answer")


async def test_what_has_moved_inside_is_not_told() -> None:
    """The name was judged when it was set; it is judged again at each call."""
    answers = iter([("8.8.8.8",), ("10.0.0.1",)])

    async def resolve(_: str) -> tuple[str, ...]:
        return next(answers)

    places = Places(resolve=resolve)
    await places.find("https://hooks.example/")
    post = Post(places)
    reply = await post.send("https://hooks.example/", FIELDS, b"{}")
    await post.close()

    assert not reply.is_told
    assert "not public" in reply.words
