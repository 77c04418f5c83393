"""Keys rotate while mail flows: everything is delivered and opens, and the old key goes once nothing needs it."""

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.enrolment import Registrar
from serving.keyring import RETRY_AFTER, load_sealing, load_unsealing, old_file, private_keys
from serving.pipeline import Outcome, Stage, Told, Unbilled, Urgent
from serving.queue.client import Client, Recipient, Submission
from serving.resealing import Report, Resealing, blobs_by_key
from serving.rotation import GRACE
from serving.sealing import PURPOSES, Purpose, UnsealingKey, create_keys, encode_key, load_lookup, write_new
from serving.settings import Settings
from serving.stage import Handler, Work
from serving.values import Prediction
from serving.wiring import Parts, wire
from tests.conftest import BrokerProcess
from tests.integration.receivers import Receiver, listening
from tests.integration.stages import kinds, working
from tests.integration.terminal import complaint, said, settle

ADA, BOB = "ada@home.example", "bob@home.example"
REAL = (Stage.AUTHENTICATION, Stage.ENCRYPTION, Stage.PAYMENT, Stage.DELIVERY)
BACKLOG, MEANWHILE = 300, 60
Eventually = Callable[..., Coroutine[Any, Any, None]]


@pytest.fixture
def settings(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose broker is that one, with keys."""
    settle(broker, monkeypatch)
    return Settings.read(first_retry=0.2, longest_retry=0.5)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A mail server."""
    async with listening(Receiver()) as running:
        yield running


@asynccontextmanager
async def at_work(settings: Settings, stages: tuple[Stage, ...]) -> AsyncIterator[None]:
    """These stages as they are wired, with keys that they load now; classification opens the body too."""
    async with AsyncExitStack() as resources:
        client = await Client.connect(settings.socket)
        resources.push_async_callback(client.close)
        parts = Parts(settings, client, resources)
        handlers: dict[Stage, Handler] = {stage: wire(stage, parts).handle for stage in stages}
        content = load_unsealing(settings.keys, "content")

        async def classify(work: Work) -> Outcome:
            content.unseal(work.body)
            return Urgent(Prediction("urgent", 1.0, None, False, "v"), None)

        async def settle(_: Work) -> Outcome:
            return Unbilled("recipient")

        async def tell(_: Work) -> Outcome:
            return Told((), time.time() + 86_400)

        own = {Stage.CLASSIFICATION: classify, Stage.SETTLEMENT: settle, Stage.NOTICE: tell}
        async with working(client, {**handlers, **own}):
            yield


async def enrol(client: Client, settings: Settings, address: str, *, is_open: bool) -> None:
    registrar = Registrar(client, load_sealing(settings.keys, "content"), load_lookup(settings.keys))
    lookup = await registrar.recipient(
        address, "a certificate" if is_open else None, {}, {"open": is_open, "pays": False}
    )
    chain = load_sealing(settings.keys, "content").seal(b"a chain").hex()
    await client.execute("set_escalation", lookup=lookup.hex(), chain=chain)


class Sender:
    """Accepts mail as the gateway does: its sealing key was loaded once."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client, self._lookup = client, load_lookup(settings.keys)
        self._key = load_sealing(settings.keys, "content")
        self.sent: dict[int, str] = {}

    async def send(self, to: str) -> None:
        subject = f"alarm {len(self.sent)} for {to}"
        mail = f"From: alarm@ops.example\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n{subject}\r\n".encode()
        person = Recipient(self._lookup.address(to), self._key.seal(to.encode()))
        accepted = await self._client.accept(Submission("ops", self._key.seal(mail), (person,)))
        self.sent[accepted.notification_ids[0]] = subject

    async def send_many(self, count: int) -> None:
        for number in range(count):
            await self.send(BOB if number % 10 == 0 else ADA)


def start_reseal() -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", "serving.cli", "keys", "reseal", "--json"], stdout=-1, text=True)


def kill_half_way(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """kill -9 once it has done a part; what it said last."""
    assert process.stdout is not None
    for line in process.stdout:
        told: dict[str, Any] = json.loads(line)
        if 0 < told["done"] < told["of"]:
            break
    process.kill()
    process.wait()
    return told


def pretend_that_hours_have_passed(folder: Path) -> None:
    for purpose in PURPOSES:
        then = time.time() - 2 * GRACE
        os.utime(folder / f"{purpose}.public", (then, then))


def sealed_in(store: Path) -> list[tuple[Purpose, bytes]]:
    """Every sealed blob of a broker's file, read without the broker."""
    content = (
        "SELECT body FROM message WHERE length(body) > 0",
        "SELECT address FROM notification WHERE length(address) > 0", "SELECT address FROM recipient",
        "SELECT certificate FROM recipient WHERE certificate IS NOT NULL", "SELECT chain FROM escalation",
    )  # fmt: skip
    with contextlib.closing(sqlite3.connect(store)) as connection:
        envelopes = connection.execute("SELECT body FROM envelope").fetchall()
        found: list[tuple[Purpose, bytes]] = [("delivery", row[0]) for row in envelopes]
        return found + [("content", row[0]) for sql in content for row in connection.execute(sql)]


async def is_everybody(client: Client, ids: list[int], state: str) -> bool:
    found = sum(row["count"] for row in await client.query("depths") if row["state"] == state)
    return bool(found == len(ids))


@pytest.mark.timeout(300)
async def test_keys_rotate_and_the_backlog_follows_while_mail_flows(
    broker: BrokerProcess, client: Client, settings: Settings, receiver: Receiver, eventually: Eventually
) -> None:
    """Mail waits sealed everywhere; a reseal is killed half way and run again beside the stages; the old keys go."""
    settings = settings.model_copy(update={"smtp_port": receiver.port})
    await client.execute("enroll_principal", id="ops", name="Ops", key_hash="h", domains=["ops.example"], policy={})
    await enrol(client, settings, ADA, is_open=True)
    await enrol(client, settings, BOB, is_open=False)
    sender = Sender(client, settings)
    olds = {purpose: load_sealing(settings.keys, purpose).id.hex() for purpose in PURPOSES}
    async with at_work(settings, REAL[:-1]):  # nobody delivers: envelopes wait, and Bob's mail waits for his key
        await sender.send_many(BACKLOG)
        await eventually(lambda: waits_at(client, "delivery", BACKLOG * 9 // 10), within=60.0)
        assert "seals from now on" in await asyncio.to_thread(said, "keys", "rotate")
        before = await blobs_by_key(client)
        refusal = await asyncio.to_thread(complaint, "keys", "retire", olds["content"])
        more = asyncio.create_task(sender.send_many(MEANWHILE))
        told = await asyncio.to_thread(kill_half_way, start_reseal())
        between = await blobs_by_key(client)
        ended = await asyncio.to_thread(said, "keys", "reseal", "--json")
        await more
        await eventually(lambda: waits_at(client, "delivery", (BACKLOG + MEANWHILE) * 9 // 10), within=60.0)
    after = await blobs_by_key(client)
    lines = [json.loads(line) for line in ended.splitlines()]

    assert f"blobs lie under {olds['content']}; run `clarion keys reseal`" in refusal
    assert before["content", olds["content"]] >= 2 * BACKLOG
    assert before["delivery", olds["delivery"]] == BACKLOG * 9 // 10
    assert 0 < told["done"] < told["of"]
    assert 0 < between["content", olds["content"]] < before["content", olds["content"]]
    assert {(row["purpose"], row["id"]): row["left"] for row in lines[-1]["left"]} == dict.fromkeys(olds.items(), 0)
    assert {key for key in after if key[1] in olds.values()} == set()
    assert lines[-2]["done"] == lines[-2]["of"]

    early = await asyncio.to_thread(complaint, "keys", "retire", olds["content"])
    pretend_that_hours_have_passed(settings.keys)
    for old in olds.values():
        await asyncio.to_thread(said, "keys", "retire", old)
    listed = json.loads(await asyncio.to_thread(said, "keys", "list", "--json"))

    assert "less than an hour ago" in early
    assert [(row["purpose"], row["state"]) for row in listed] == [("content", "seals"), ("delivery", "seals")]
    assert sum(row["blobs"] for row in listed) == sum(after.values())
    assert [path.name for path in settings.keys.glob("*.*.private")] == []

    async with at_work(settings, REAL):  # as after a restart: only the new keys are there
        await enrol(client, settings, BOB, is_open=True)
        await eventually(lambda: is_everybody(client, list(sender.sent), "delivered"), within=60.0)
    subjects = Counter(_subject(envelope.content) for envelope in receiver.kept)
    broker.stop()
    keyrings = {purpose: load_unsealing(settings.keys, purpose) for purpose in PURPOSES}
    opened = [keyrings[purpose].unseal(blob) for purpose, blob in sealed_in(broker.store)]

    assert subjects == Counter(sender.sent.values())
    assert len(opened) == 2 * (BACKLOG + MEANWHILE) + 6  # and what is known of two people


async def waits_at(client: Client, stage: str, count: int) -> bool:
    rows = await client.query("depths")
    return bool(sum(row["count"] for row in rows if row["stage"] == stage) >= count)


def _subject(content: Any) -> str:
    return str(next(line for line in bytes(content).decode().splitlines() if line.startswith("Subject: ")))[9:]


async def run(client: Client, settings: Settings, **options: Any) -> Report:
    keys = {purpose: load_unsealing(settings.keys, purpose) for purpose in PURPOSES}
    return await Resealing(client, keys, lambda _: None, **options).run()


async def test_the_largest_body_is_resealed(client: Client, settings: Settings) -> None:
    """25 MiB are promised; a question about it holds twice as many octets."""
    mail = os.urandom(25 << 20)
    address = load_sealing(settings.keys, "content").seal(ADA.encode())
    sealed = load_sealing(settings.keys, "content").seal(mail)
    accepted = await client.accept(Submission("ops", sealed, (Recipient(bytes(32), address),)))
    await asyncio.to_thread(said, "keys", "rotate", "content")
    report = await run(client, settings)
    (row,) = await client.query("body", message=str(accepted.message_id))
    found = bytes.fromhex(row["body"])

    assert (report.replaced, report.unopened, dict(report.left)) == (2, 0, {})
    assert load_unsealing(settings.keys, "content").unseal(found) == mail
    assert found[:4] == load_sealing(settings.keys, "content").id


async def test_what_does_not_open_stays_and_is_counted(client: Client, settings: Settings) -> None:
    """A key that is missing may be restored: its blobs must still be there, and nobody may think that all is done."""
    stranger = UnsealingKey(b"\x55" * 32).sealing_key
    good = load_sealing(settings.keys, "content").seal(b"mail")
    for body in (good, stranger.seal(b"mail"), good[:-1]):
        await client.accept(Submission("ops", body, (Recipient(bytes(32), good),)))
    await asyncio.to_thread(said, "keys", "rotate", "content")
    words = await asyncio.to_thread(complaint, "keys", "reseal")
    old, gone = good[:4].hex(), stranger.id.hex()
    listed = json.loads(await asyncio.to_thread(said, "keys", "list", "--json"))

    assert words.startswith("2 blobs did not open; restore")
    assert await blobs_by_key(client) == {
        ("content", gone): 1, ("content", old): 1, ("content", load_sealing(settings.keys, "content").id.hex()): 4,
    }  # fmt: skip
    assert [(row["id"], row["blobs"]) for row in listed if row["state"] in ("missing", "kept")] == [(old, 1), (gone, 1)]


async def test_mail_whose_key_is_missing_waits_and_goes_on_when_it_is_back(
    client: Client, settings: Settings, receiver: Receiver, eventually: Eventually
) -> None:
    """A folder that was restored without its old keys is an operator's mistake, and costs no mail."""
    settings = settings.model_copy(update={"smtp_port": receiver.port})
    lost = b"\x66" * 32
    seal = UnsealingKey(lost).sealing_key.seal
    await client.execute("enroll_principal", id="ops", name="Ops", key_hash="h", domains=["ops.example"], policy={})
    await enrol(client, settings, ADA, is_open=True)
    person = Recipient(load_lookup(settings.keys).address(ADA), seal(ADA.encode()))
    async with at_work(settings, REAL):
        accepted = await client.accept(Submission("ops", seal(b"From: a@ops.example\r\n\r\nx"), (person,)))
        (id_,) = accepted.notification_ids
        await eventually(lambda: _last(client, id_, "retried"))
        (event,) = [each for each in await client.query("events", id=str(id_)) if each["kind"] == "retried"]
        path = old_file(settings.keys, "content", UnsealingKey(lost).sealing_key.id)
        write_new(path, encode_key("content.private", lost))
        await client.execute("retry", id=str(id_))
        await eventually(lambda: _last(client, id_, "unbilled"))

    assert event["detail"]["cause"].startswith("no content key")
    assert event["detail"]["delay"] == RETRY_AFTER
    assert len(receiver.kept) == 1


async def _last(client: Client, id_: int, kind: str) -> bool:
    return (await kinds(client, id_))[-1] == kind


async def test_two_runs_at_once_and_a_broker_that_restarts_tear_nothing(
    broker: BrokerProcess, client: Client, settings: Settings
) -> None:
    """An operator who is impatient starts a second one; brokers are updated."""
    sender = Sender(client, settings)
    await sender.send_many(120)
    await asyncio.to_thread(said, "keys", "rotate")
    runs = [asyncio.create_task(run(client, settings, batch=10)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.to_thread(broker.kill)
    broker.start()
    reports = await asyncio.gather(*runs)
    counts = await blobs_by_key(client)

    assert counts == {("content", load_sealing(settings.keys, "content").id.hex()): 240}
    assert [dict(report.left) for report in reports] == [{}, {}]
    assert len(private_keys(settings.keys, "content")) == 2


async def test_keys_are_listed_where_no_broker_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first start, and on another machine."""
    create_keys(tmp_path / "secrets")
    monkeypatch.setenv("CLARION_HOME", str(tmp_path))
    monkeypatch.setenv("CLARION_KEY_FOLDER", str(tmp_path / "secrets"))
    listed = json.loads(await asyncio.to_thread(said, "keys", "list", "--json"))

    assert [(row["purpose"], row["blobs"]) for row in listed] == [("content", None), ("delivery", None)]
    assert "for content or for delivery" in await asyncio.to_thread(complaint, "keys", "rotate", "lookup")
    assert "no key 00000000" in await asyncio.to_thread(complaint, "keys", "retire", "00000000")
