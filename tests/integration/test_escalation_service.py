"""An urgent mail that nobody acknowledges, through the stages as they are wired, a real broker and a mail server."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.smtp import Envelope

from serving.acknowledging import AcknowledgeLinks
from serving.enrolment import Registrar
from serving.escalation.chain import Chain, Person, Push, Step, write_chain
from serving.escalation.push import Result
from serving.escalation.stage import Escalation, Keys
from serving.keyring import load_sealing, load_unsealing
from serving.pipeline import Authenticated, Enclosed, EnclosedFree, Outcome, Sent, Stage, Unbilled, Urgent, Waived
from serving.queue.client import Client, Recipient, Submission
from serving.sealing import load_lookup
from serving.settings import Settings
from serving.stage import Handler, Work
from serving.values import OpenByPolicy, Prediction, Receipt
from serving.web.token import Links
from serving.wiring import Parts, wire
from tests.conftest import BrokerProcess
from tests.integration.receivers import Receiver
from tests.integration.receivers import listening as receiving
from tests.integration.stages import always, kinds, row, working
from tests.integration.terminal import settle
from tests.integration.test_escalation_push import listening

ADA, GRACE = "ada@ops.example", "grace@ops.example"
CANARY = "potassium-7.9"
WIRED = (Stage.ENCRYPTION, Stage.PAYMENT, Stage.DELIVERY, Stage.SETTLEMENT, Stage.ESCALATION)
Eventually = Callable[..., Awaitable[None]]


@pytest.fixture
def settings(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose broker is that one, with keys."""
    settle(broker, monkeypatch)
    return Settings.read(apprise_schemes=("json",), public_url="https://gate.example")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A mail server."""
    async with receiving(Receiver()) as running:
        yield running


@asynccontextmanager
async def at_work(settings: Settings, receiver: Receiver) -> AsyncIterator[Client]:
    """The stages; everything is authenticated and urgent."""

    async def urgent(_: Work) -> Outcome:
        return Urgent(Prediction("urgent", 1.0, None, False, "v"), None)

    async with AsyncExitStack() as resources:
        client = await Client.connect(settings.socket)
        resources.push_async_callback(client.close)
        parts = Parts(settings.model_copy(update={"smtp_port": receiver.port}), client, resources)
        handlers = {stage: wire(stage, parts).handle for stage in WIRED}
        own = {Stage.AUTHENTICATION: always(Authenticated("api_key")), Stage.CLASSIFICATION: urgent}
        async with working(client, {**handlers, **own}):
            yield client


async def enrol(client: Client, settings: Settings, *steps: Step) -> None:
    """Ada, with that chain, and grace, whose own chain leads back to ada."""
    lookup, sealing = load_lookup(settings.keys), load_sealing(settings.keys, "content")
    registrar = Registrar(client, sealing, lookup)
    for person, chain in ((ADA, Chain(steps)), (GRACE, Chain((Step(0.1, Person(ADA)),)))):
        await registrar.recipient(person, None, {}, {"open": True, "pays": False})
        sealed = sealing.seal(write_chain(chain)).hex()
        await client.execute("set_escalation", lookup=lookup.address(person).hex(), chain=sealed)


async def send(client: Client, settings: Settings) -> int:
    """An alarm for ada."""
    lookup, sealing = load_lookup(settings.keys), load_sealing(settings.keys, "content")
    mail = f"From: alarm@bank.example\r\nTo: {ADA}\r\nSubject: {CANARY}\r\n\r\n{CANARY}\r\n"
    person = Recipient(lookup.address(ADA), sealing.seal(ADA.encode()))
    return (await client.accept(Submission("bank", sealing.seal(mail.encode()), (person,)))).notification_ids[0]


async def told(client: Client, id_: int) -> list[tuple[str, dict[str, Any]]]:
    events = await client.query("events", id=str(id_))
    return [(event["kind"], event["detail"]) for event in events if event["stage"] == "escalation"]


async def test_the_next_person_gets_it_and_their_link_ends_it(
    settings: Settings, receiver: Receiver, eventually: Eventually
) -> None:
    """The whole way: ada's mail, a push, grace's mail with the link, and what the sender reads in the end."""
    async with listening(200) as channel, at_work(settings, receiver) as client:
        later = Step(3600.0, Person(GRACE))
        await enrol(client, settings, Step(0.3, channel.url), Step(0.3, Person(GRACE)), later)
        id_ = await send(client, settings)
        await eventually(lambda: len(receiver.kept) == 2)
        mail = _read(receiver.kept[1])
        token = str(mail["Clarion-Acknowledge"]).strip("<>").removeprefix("https://gate.example/r/")
        child, kind = Links(load_lookup(settings.keys).derive("pay")).reaction.read(token, 0.0)
        await client.execute("react", id=str(child), kind=kind, at=1.0)

        async def is_over() -> bool:
            return "acknowledged" in [kind for kind, _ in await told(client, id_)]

        await eventually(is_over)
        history, state = await told(client, id_), (await row(client, id_))["state"]
        watched = [event for event in await kinds(client, id_) if event == "watched"]
        of_child = await kinds(client, child)

    assert [mail["Clarion-Escalated"] for mail in map(_read, receiver.kept)] == [
        None,
        "yes; its recipient has not acknowledged it",
    ]
    assert [CANARY in str(mail["Subject"]) for mail in map(_read, receiver.kept)] == [True, True]
    assert CANARY.encode() not in b"".join(channel.requests)
    assert len(channel.requests) == 1
    assert (kind, state, watched) == ("acknowledged", "delivered", ["watched"])
    assert [(kind, detail.get("escalated", detail).get("step")) for kind, detail in history] == [
        ("escalated", 1), ("escalated", 2), ("acknowledged", 2),
    ]  # fmt: skip
    assert "watched" not in of_child


async def test_the_link_in_a_push_acknowledges_the_mail(
    settings: Settings, receiver: Receiver, eventually: Eventually
) -> None:
    """Whoever is reached on the telephone need not open a mailbox first."""
    async with listening(200) as channel, at_work(settings, receiver) as client:
        await enrol(client, settings, Step(0.2, channel.url), Step(0.2, Person(GRACE)))
        id_ = await send(client, settings)
        await eventually(lambda: bool(channel.requests))
        message = json.loads(channel.requests[0].partition(b"\r\n\r\n")[2])["message"]
        (token,) = re.findall(r"https://gate\.example/r/(\S+)", message)
        told_of, kind = Links(load_lookup(settings.keys).derive("pay")).reaction.read(token, 0.0)

    assert (told_of, kind) == (id_, "acknowledged")


async def test_two_workers_ask_everybody_once(
    settings: Settings, broker: BrokerProcess, eventually: Eventually
) -> None:
    """They share the queue, and whatever one of them has begun is not the other's."""
    pushed: list[str] = []

    async def push(_: Push, __: str, text: str) -> Result:
        pushed.append(text)
        await asyncio.sleep(0.02)
        return "sent"

    async with AsyncExitStack() as resources:
        clients = [await Client.connect(broker.socket) for _ in range(3)]
        for client in clients:
            resources.push_async_callback(client.close)
        await enrol(clients[0], settings, Step(0.1, Push("ntfys://a.example/b")), Step(0.1, Person(GRACE)))
        keys = Keys(load_unsealing(settings.keys, "content"), load_lookup(settings.keys))
        links = AcknowledgeLinks(settings.react_url, Links(keys.lookup.derive("pay")))
        await resources.enter_async_context(working(clients[0], _quick(clients[0])))
        for client in clients[1:]:
            stage = Escalation(client, keys, links, push, time.time)
            await resources.enter_async_context(working(client, {Stage.ESCALATION: stage.handle}))
        ids = [await send(clients[0], settings) for _ in range(12)]

        async def histories() -> list[list[str]]:
            return [[kind for kind, _ in await told(clients[0], id_)] for id_ in ids]

        async def are_over() -> bool:
            return all("exhausted" in history for history in await histories())

        await eventually(are_over, 60.0)
        found = await histories()
        depths = await clients[0].query("depths")

    assert found == [["escalated", "escalated", "exhausted"]] * len(ids)
    assert len(pushed) == len(set(pushed)) == len(ids)
    assert sum(row["count"] for row in depths if row["state"] == "delivered") == 2 * len(ids)


def _quick(client: Client) -> dict[Stage, Handler]:
    """All other stages: they do at once what they do in the end."""
    envelope = OpenByPolicy(b"octets", "recipient")

    async def enclose(work: Work) -> Outcome:
        if "escalated" in work.facts:
            return EnclosedFree(envelope, "escalated")
        return Enclosed(envelope, int((await client.execute("watch", about=str(work.id)))["id"]))

    return {
        Stage.AUTHENTICATION: always(Authenticated("api_key")),
        Stage.CLASSIFICATION: always(Urgent(Prediction("urgent", 1.0, None, False, "v"), None)),
        Stage.ENCRYPTION: enclose,
        Stage.PAYMENT: always(Waived("recipient_policy")),
        Stage.DELIVERY: always(Sent(Receipt(250, "ok", "<1@x>"))),
        Stage.SETTLEMENT: always(Unbilled("recipient_policy")),
    }


def _read(kept: Envelope) -> Message:
    assert isinstance(kept.content, bytes)
    return message_from_bytes(kept.content)
