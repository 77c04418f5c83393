"""The sandbox provider as a real process: killed with -9, faulty, misused; it commits once and remembers."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.payment.provider import Absent, Declined, Done, NeedsPayer, Order, TryLater, Unknown, Verb
from serving.payment.sandbox_client import SandboxClient
from serving.payment.stripe_events import Event, Reason, Rejected, read_event
from serving.payment.webhooks import HEADER

COMMAND = [sys.executable, "-m", "serving.payment.sandbox", "--port", "0", "--log"]
SECRET = "whsec_sandbox"
CHARGE = Order("top-up:1", Verb.CHARGE, "0123456789abcdef", 500, "EUR")
RELEASE = Order("7:capture", Verb.RELEASE, "0123456789abcdef", 5, "EUR")


class Provider:
    """The process on a log that outlives it; each start takes a free port."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> str:
        command = [*COMMAND, str(self.log), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()[3].rstrip(",")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def end(self) -> int:
        if self._process is None:
            return 0
        self._process.terminate()
        self._process.communicate(timeout=10)
        return self._process.returncode

    def start_telling(self, url: str, *arguments: str) -> str:
        secret = self.log.with_name("secret")
        secret.write_text(SECRET + "\n")
        return self.start("--webhook", url, "--webhook-secret", str(secret), *arguments)

    def operations(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class Listener:
    """Hears webhooks over HTTP; answers with `statuses` in turn, then with 204. `heard` are header and body of each."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.heard: list[tuple[str, bytes]] = []

    async def on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[1:-1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append((headers[HEADER.lower()], body))
        status = self.statuses.pop(0) if self.statuses else 204
        writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10.0):
            while len(self.heard) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    async with await asyncio.start_server(listener.on_connection, "127.0.0.1", 0) as server:
        listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks"
        yield listener


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    provider = Provider(tmp_path / "sandbox.jsonl")
    yield provider
    provider.end()


async def test_an_order_is_committed_once_however_often_it_is_sent(provider: Provider) -> None:
    """The whole promise stands on the provider's idempotency, also when the repeats come at once."""
    async with SandboxClient(provider.start()) as client:
        answers = await asyncio.gather(*(client.perform(CHARGE) for _ in range(10)))

    assert set(answers) == {Done("1")}
    assert [operation["key"] for operation in provider.operations()] == ["top-up:1"]


async def test_a_kill_between_commit_and_answer_leaves_it_committed_once(provider: Provider) -> None:
    """The worst moment: the money moved and nobody heard. Asking finds it; repeating adds nothing."""
    async with SandboxClient(provider.start("--fault", "timeout=1"), timeout=0.5) as client:
        unheard = await client.perform(CHARGE)
    provider.kill()

    async with SandboxClient(provider.start()) as client:
        found, repeated = await client.find(CHARGE), await client.perform(CHARGE)

    assert isinstance(unheard, Unknown)
    assert (found, repeated) == (Done("1"), Done("1"))
    assert len(provider.operations()) == 1


async def test_a_kill_under_load_loses_nothing_that_was_answered(provider: Provider) -> None:
    """Done means on disk."""
    orders = [Order(f"top-up:{number}", Verb.CHARGE, "payer", 1, "EUR") for number in range(200)]
    async with SandboxClient(provider.start(), timeout=2.0) as client:
        calls = [asyncio.create_task(client.perform(order)) for order in orders]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        provider.kill()
        answers = await asyncio.gather(*calls)
    answered = {order.key for order, answer in zip(orders, answers, strict=True) if isinstance(answer, Done)}

    async with SandboxClient(provider.start()) as client:
        again = await asyncio.gather(*(client.perform(order) for order in orders))

    keys = [operation["key"] for operation in provider.operations()]
    assert 0 < len(answered) < len(orders)
    assert all(isinstance(answer, Done) for answer in again)
    assert sorted(keys) == sorted(order.key for order in orders)


async def test_the_same_key_with_another_order_is_refused(provider: Provider) -> None:
    """Two payers under one key would make one of them pay for the other."""
    async with SandboxClient(provider.start()) as client:
        await client.perform(CHARGE)

        answer = await client.perform(Order(CHARGE.key, Verb.CHARGE, CHARGE.payer, 501, "EUR"))

    assert answer == Declined("key_conflict")
    assert len(provider.operations()) == 1


async def test_no_more_is_released_than_was_charged(provider: Provider) -> None:
    """A second release of the same money shows at once instead of at the year's end."""
    async with SandboxClient(provider.start()) as client:
        before = await client.perform(RELEASE)
        await client.perform(CHARGE)

        after = await client.perform(RELEASE)

    assert (before, after) == (Declined("insufficient"), Done("2"))


async def test_what_was_never_committed_is_absent(provider: Provider) -> None:
    """Only a clear `absent` lets the caller send the order (again)."""
    async with SandboxClient(provider.start()) as client:
        answer = await client.find(CHARGE)

    assert answer == Absent()


@pytest.mark.parametrize(("fault", "committed"), [("timeout", 1), ("html", 1), ("error", 0), ("needs_payer", 0)])
async def test_each_fault_is_one_of_the_five_answers(provider: Provider, fault: str, committed: int) -> None:
    """What may have moved money is `Unknown`; what surely did not is not."""
    url = provider.start("--fault", f"{fault}=1")
    expected = {"timeout": Unknown, "html": Unknown, "error": TryLater, "needs_payer": NeedsPayer}
    async with SandboxClient(url, timeout=0.5) as client:
        answer = await client.perform(CHARGE)

    assert isinstance(answer, expected[fault])
    assert len(provider.operations()) == committed


async def test_a_provider_that_is_down_is_tried_later(provider: Provider) -> None:
    """No connection means that nothing was sent: not unknown."""
    url = provider.start()
    provider.kill()

    async with SandboxClient(url) as client:
        answer = await client.perform(CHARGE)

    assert isinstance(answer, TryLater)


async def test_a_webhook_tells_of_what_was_committed_though_the_answer_was_lost(
    provider: Provider, listener: Listener
) -> None:
    """Who never heard the answer hears the hint, and reads it as Stripe's; altered or old, nobody believes it."""
    url = provider.start_telling(listener.url, "--fault", "timeout=1")
    async with SandboxClient(url, timeout=0.5) as client:
        answer = await client.perform(CHARGE)
    await listener.until(1)
    (signature, body), now = listener.heard[0], time.time()

    assert isinstance(answer, Unknown)
    assert read_event(body, signature, SECRET, now=now) == Event("evt_1", "charge.succeeded", CHARGE.key, "1")
    assert read_event(body + b" ", signature, SECRET, now=now) == Rejected(Reason.BAD_SIGNATURE)
    assert read_event(body, signature, SECRET, now=now + 400) == Rejected(Reason.TOO_OLD)


async def test_a_webhook_comes_again_until_somebody_takes_it_and_only_for_what_is_new(
    provider: Provider, listener: Listener
) -> None:
    """Whoever was away hears of it all the same; an order that is repeated moved nothing and is no news."""
    listener.statuses = [500, 404]
    async with SandboxClient(provider.start_telling(listener.url)) as client:
        await client.perform(CHARGE)
        await client.perform(CHARGE)
        await listener.until(3)
        await client.perform(RELEASE)
        await listener.until(4)
    keys = [json.loads(body)["data"]["object"]["key"] for _, body in listener.heard]

    assert keys == [CHARGE.key, CHARGE.key, CHARGE.key, RELEASE.key]


async def test_nobody_waits_for_a_listener_that_is_gone(provider: Provider) -> None:
    """Webhooks are hints: without anybody to hear them the money moves as before."""
    async with SandboxClient(provider.start_telling("http://127.0.0.1:1/nobody"), timeout=2.0) as client:
        answers = [await client.perform(order) for order in (CHARGE, RELEASE)]

    assert answers == [Done("1"), Done("2")]


def test_webhooks_need_both_a_place_and_a_secret(provider: Provider) -> None:
    """Unsigned webhooks teach people to believe anybody."""
    command = [*COMMAND, str(provider.log), "--webhook", "http://127.0.0.1:1/"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "--webhook-secret" in run.stderr


GOOD: dict[str, Any] = {"key": "k", "verb": "charge", "payer": "p", "amount": 5, "currency": "EUR"}


async def test_what_is_no_order_is_refused_with_what_to_send(provider: Provider) -> None:
    """Bad input: a clear error, nothing moved, the provider lives."""
    bad: dict[str, list[Any]] = {
        "amount": [0, -5, 1.5, "5", True, None, 2**31],
        "currency": ["USD", "", None],
        "verb": ["void", None, []],
        "key": ["", "a b", "x" * 201, None, "ü"],
        "payer": ["", "a\nb", 7],
    }
    bodies = [json.dumps({**GOOD, name: value}).encode() for name, values in bad.items() for value in values]
    async with httpx.AsyncClient(base_url=provider.start(), trust_env=False) as http:
        responses = [
            await http.post("/v1/operations", content=body)
            for body in [*bodies, b"", b"{", b"[]", b"\xff\xfe", b"[" * 60_000, b" " * 100_000]
        ]
        healthy = await http.post("/v1/operations", json=GOOD)

    assert {response.status_code for response in responses} == {400}
    assert all(response.json()["detail"] for response in responses)
    assert healthy.status_code == 201
    assert len(provider.operations()) == 1


def test_it_ends_cleanly_and_says_why_it_cannot_start(provider: Provider) -> None:
    """`Ctrl-C stops all of it cleanly`; a log in use is said in one line."""
    provider.start()
    command = [*COMMAND, str(provider.log)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert "in use" in second.stderr
    assert provider.end() == 0
