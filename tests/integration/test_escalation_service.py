"""An urgent mail that nobody acknowledges, through the stages as they are wired, a real broker and a mail server."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.smtp import Envelope

from serving.enrolment import Registrar
from serving.escalation.chain import Chain, Person, Step, write_chain
from serving.keyring import load_sealing
from serving.pipeline import Authenticated, Outcome, Stage, Urgent
from serving.queue.client import Client, Recipient, Submission
from serving.sealing import load_lookup
from serving.settings import Settings
from serving.stage import Work
from serving.values import Prediction
from serving.web.token import Links
from serving.wiring import Parts, wire
from tests.conftest import BrokerProcess
from tests.integration.stages import always, kinds, row, working
from tests.integration.terminal import settle
from tests.integration.test_delivery import Receiver
from tests.integration.test_delivery import listening as receiving
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


def _read(kept: Envelope) -> Message:
    assert isinstance(kept.content, bytes)
    return message_from_bytes(kept.content)
