"""Payment, delivery and settlement over the real broker, the real provider and a real receiver, in health and in ruin.

The books are compared from outside: what the receiver kept, what the provider's own log says, what the ledger says.
"""

import asyncio
import contextlib
import hashlib
import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from nacl.public import PrivateKey

from serving.delivery.routes import Smarthost
from serving.delivery.schedule import Schedule
from serving.delivery.stage import Delivery
from serving.money import wallet_of
from serving.payment.policy import Defaults
from serving.payment.provider import Done
from serving.payment.release import Release
from serving.payment.sandbox_client import SandboxClient
from serving.payment.stage import Payment
from serving.payment.topup import resume, top_up
from serving.pipeline import Asked, Authenticated, Enclosed, Outcome, Stage, Urgent
from serving.queue.client import Client, Recipient, Submission
from serving.sealing import UnsealingKey
from serving.settlement import Settlement
from serving.stage import Handler, Work, serve
from serving.values import Prediction, Sealed

KEY = UnsealingKey(bytes(PrivateKey.generate()))
PRICE = 5
Eventually = Callable[..., Awaitable[None]]


class Provider:
    """The sandbox provider's process, always on the same port and log."""

    def __init__(self, log: Path) -> None:
        self.log = log
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *faults: str) -> None:
        options = ["--port", str(self._port), "--log", str(self.log), "--hang", "5", "--seed", "7"]
        for fault in faults:
            options += ["--fault", fault]
        self._process = subprocess.Popen([sys.executable, "-m", "serving.payment.sandbox", *options])

    async def answers(self) -> None:
        """Return once it takes connections."""
        while True:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.close()
                return
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def released(self) -> Counter[str]:
        operations = [json.loads(line) for line in self.log.read_text().splitlines()]
        return Counter(operation["key"] for operation in operations if operation["verb"] == "release")


@dataclass
class Receiver:
    """Keeps Message-IDs; refuses who is called nobody; loses the replies that `lose` counts down."""

    kept: Counter[str] = field(default_factory=Counter)
    lose: int = 0
    port: int = 0

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 unknown"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        self.kept[content.partition(b"Message-ID: ")[2].partition(b"\r\n")[0].decode()] += 1
        if self.lose > 0:
            self.lose -= 1
            assert server.transport is not None
            server.transport.abort()  # type: ignore[attr-defined]
        return "250 2.0.0 kept"


async def authenticate(_: Work) -> Outcome:
    return Authenticated("api_key")


async def classify(_: Work) -> Outcome:
    return Urgent(Prediction("urgent", 0.9, None, False, "test"), None)


async def enclose(work: Work) -> Outcome:
    address = work.address.decode()
    fields = {"mail_from": "clarion@clarion.example", "rcpt_to": address, "message_id": f"<{work.id}@x>"}
    mail = b"Message-ID: <%d@x>\r\nSubject: sealed\r\n\r\n...\r\n" % work.id
    return Enclosed(Sealed(KEY.sealing_key.seal(json.dumps(fields).encode() + b"\n" + mail), "openpgp"))


async def ask(work: Work) -> Outcome:
    return Asked(work.id, 0.0)


BEFORE: dict[Stage, Handler] = {
    Stage.AUTHENTICATION: authenticate,
    Stage.CLASSIFICATION: classify,
    Stage.ENCRYPTION: enclose,
}


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    provider = Provider(tmp_path / "sandbox.jsonl")
    yield provider
    provider.kill()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(receiver, hostname="receiver.example", loop=loop), "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()


@pytest.fixture
async def running(
    client: Client, provider: Provider, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SandboxClient]:
    """All stages at work; gives the payments' client of the provider. The provider itself is for the test to start."""
    monkeypatch.setattr("serving.stage.VISIBILITY", 4.0)  # a lease on its way when the broker died comes back then
    quick = Schedule(first=0.1, cap=0.5)
    async with SandboxClient(provider.url, timeout=0.5) as bank:
        delivery = Delivery(
            KEY,
            Smarthost("127.0.0.1", receiver.port, "clarion.example"),
            expiry=60.0,
            random=Random(1),  # noqa: S311
            schedule=quick,
        )
        payment = Payment(client, Defaults(PRICE, "EUR", 600.0))
        release = Release(client, bank)
        stages: dict[Stage, Handler] = {
            **BEFORE,
            Stage.PAYMENT: payment.handle,
            Stage.DELIVERY: delivery.handle,
            Stage.SETTLEMENT: Settlement(release, release.void).handle,
            Stage.NOTICE: ask,
        }
        tasks = [
            asyncio.create_task(serve(stage, client, handle, unfunded=payment.unfunded))
            for stage, handle in stages.items()
        ]
        yield bank
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await delivery.close()


def lookup_of(address: str) -> bytes:
    return hashlib.sha256(address.encode()).digest()


async def enroll(client: Client) -> None:
    await client.execute(
        "enroll_principal", id="p", name="Hospital", key_hash="00", domains=["hospital.example"], policy={}
    )


async def accept(client: Client, *addresses: str) -> list[int]:
    await enroll(client)
    recipients = tuple(Recipient(lookup_of(address), address.encode()) for address in addresses)
    return list((await client.accept(Submission("p", b"sealed", recipients))).notification_ids)


async def pay_in(client: Client, bank: SandboxClient, address: str, amount: int) -> None:
    """As a pay page does: the same key until it is done."""
    for _ in range(100):
        answer = await top_up(
            client, bank, wallet=wallet_of(lookup_of(address)), amount=amount, currency="EUR", key=f"top-up:{address}"
        )
        if isinstance(answer, Done):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the provider never took the money")


async def balance(client: Client, account: str) -> int:
    rows = await client.query("balance", account=account)
    return int(rows[0]["balance"]) if rows else 0


async def states(client: Client, ids: list[int]) -> Counter[str]:
    rows = [await client.query("notification", id=str(id_)) for id_ in ids]
    return Counter(row[0]["state"] for row in rows)


async def test_a_delivered_notification_costs_its_price_once(
    client: Client, running: SandboxClient, provider: Provider, receiver: Receiver, eventually: Eventually
) -> None:
    """The sentence's second half: pay → deliver → settle, and three books that agree."""
    provider.start()
    await pay_in(client, running, "ada@receiver.example", 100)

    (id_,) = await accept(client, "ada@receiver.example")
    await eventually(lambda: _all(client, [id_], "delivered"))

    assert receiver.kept == {f"<{id_}@x>": 1}
    assert provider.released() == {f"{id_}:capture": 1}
    assert await balance(client, f"wallet:{lookup_of('ada@receiver.example').hex()}") == 100 - PRICE
    assert (await balance(client, "revenue"), await balance(client, f"hold:{id_}")) == (PRICE, 0)


async def test_an_empty_wallet_parks_and_a_top_up_wakes(
    client: Client, running: SandboxClient, provider: Provider, receiver: Receiver, eventually: Eventually
) -> None:
    """No worker is held while somebody looks for the money, and paying delivers at once."""
    provider.start()
    (id_,) = await accept(client, "bob@receiver.example")
    await eventually(lambda: _all(client, [id_], "parked"))
    assert not receiver.kept

    await pay_in(client, running, "bob@receiver.example", PRICE)
    await eventually(lambda: _all(client, [id_], "delivered"))

    assert await balance(client, f"wallet:{lookup_of('bob@receiver.example').hex()}") == 0
    assert await balance(client, "clearing:sandbox") == -PRICE


async def test_what_the_receiver_refuses_is_given_back_and_never_released(
    client: Client, running: SandboxClient, provider: Provider, eventually: Eventually
) -> None:
    """Nobody is charged for a notification that was not delivered."""
    provider.start()
    await pay_in(client, running, "nobody@receiver.example", 100)

    (id_,) = await accept(client, "nobody@receiver.example")
    await eventually(lambda: _all(client, [id_], "dead"))

    assert not provider.released()
    assert await balance(client, f"wallet:{lookup_of('nobody@receiver.example').hex()}") == 100
    assert (await balance(client, "revenue"), await balance(client, f"hold:{id_}")) == (0, 0)


@pytest.mark.slow
async def test_faults_kills_and_lost_replies_charge_nobody_twice(
    client: Client,
    running: SandboxClient,
    provider: Provider,
    receiver: Receiver,
    broker: Any,
    eventually: Eventually,
) -> None:
    """The provider times out after committing, answers web pages, is killed, the broker too, and 250s are lost."""
    faults = ("timeout=0.1", "html=0.1", "error=0.1")
    addresses = [f"r{number}@receiver.example" for number in range(30)]
    provider.start(*faults)
    for address in addresses:
        await pay_in(client, running, address, 2 * PRICE)
    receiver.lose = 3

    ids = await accept(client, *addresses)
    await asyncio.sleep(0.3)
    provider.kill()
    broker.kill()
    provider.start(*faults)
    broker.start()
    await eventually(lambda: _all(client, ids, "delivered"), within=60.0)

    wallets = [await balance(client, f"wallet:{lookup_of(address).hex()}") for address in addresses]
    assert provider.released() == {f"{id_}:capture": 1 for id_ in ids}
    assert set(receiver.kept) == {f"<{id_}@x>" for id_ in ids}
    assert sum(receiver.kept.values()) - len(ids) <= 3 + 8  # one more for each mail on its way when the broker died
    assert wallets == [PRICE] * 30
    assert await balance(client, "revenue") == 30 * PRICE
    assert await client.query("intents", state="open") == []


async def test_a_top_up_that_nobody_finished_is_finished_at_the_next_start(
    client: Client, running: SandboxClient, provider: Provider
) -> None:
    """The payer paid, the process died: the wallet is credited without anybody's paying again."""
    provider.start("timeout=1")
    await provider.answers()
    await top_up(
        client,
        running,
        wallet=wallet_of(lookup_of("eve@receiver.example")),
        amount=70,
        currency="EUR",
        key="top-up:eve",
    )
    provider.kill()
    provider.start()
    await provider.answers()

    answers = await resume(client, running)

    assert answers == [Done("1")]
    assert await balance(client, f"wallet:{lookup_of('eve@receiver.example').hex()}") == 70
    assert len(provider.log.read_text().splitlines()) == 1


async def _all(client: Client, ids: list[int], state: str) -> bool:
    with contextlib.suppress(Exception):
        return await states(client, ids) == {state: len(ids)}
    return False
