"""From a refusal, or a bounce, to the report in the sender's mailbox: real broker, real stages, a real SMTP server."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import SMTPUTF8
from random import Random
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from nacl.public import PrivateKey

from serving import pipeline as p
from serving.bounces.returning import Bounces
from serving.bounces.telling import Teller
from serving.delivery.reporting import Reporting, Store, Terms
from serving.delivery.routes import Smarthost
from serving.delivery.schedule import Schedule
from serving.delivery.stage import Delivery
from serving.encryption.stage import Encryption
from serving.envelope import Request, SmtpEnvelope, envelope_field
from serving.pipeline import Outcome, Stage
from serving.queue.client import Client, Recipient, Submission
from serving.return_addresses import ReturnAddresses, Returned
from serving.sealing import LookupKey, UnsealingKey
from serving.settlement import Settlement
from serving.stage import Handler
from serving.values import Hold, Prediction
from tests.integration.receivers import Receiver, listening, say
from tests.integration.stages import always, is_at, kinds, working
from tests.unit.bounces import shapes

Eventually = Callable[..., Awaitable[None]]
CONTENT, ENVELOPES = UnsealingKey(bytes(PrivateKey.generate())), UnsealingKey(bytes(PrivateKey.generate()))
LOOKUP, GATE, TO = LookupKey(b"l" * 32), "clarion@gate.example", "bob@receiver.example"
RETURNS = ReturnAddresses(LOOKUP.derive("return"), "gate.example")
BOB = LOOKUP.address(TO)
MAIL = (
    b"From: Ops <ops@bank.example>\r\nTo: bob@receiver.example\r\nSubject: secret-canary\r\n"
    b"Message-ID: <1@bank.example>\r\n\r\nsecret-canary: 97 %\r\n"
)
DAY = 86_400.0


async def never(_: int, __: bytes, ___: Hold) -> None:
    raise AssertionError("nobody pays here")


@dataclass
class Mailboxes(Receiver):
    """While `busy`, Bob's takes nothing."""

    busy: bool = False

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]) -> str:
        if self.busy and address == TO:
            self.events.append("rcpt")
            return "450 4.2.0 busy"
        return await super().handle_RCPT(server, session, envelope, address, _)


@dataclass
class House:
    """The stages from acceptance to the end, as wiring puts them together; `now` adds to their clock."""

    client: Client
    receiver: Mailboxes
    authenticated: Outcome = p.Authenticated("api_key")  # noqa: RUF009 - frozen
    now: float = 0.0

    def stages(self) -> Mapping[Stage, Handler]:
        encryption = Encryption(self.client, CONTENT, ENVELOPES.sealing_key, GATE, self.clock, lookup=LOOKUP)
        return {
            Stage.AUTHENTICATION: always(self.authenticated),
            Stage.CLASSIFICATION: always(p.Urgent(Prediction("urgent", 0.9, None, False, "v"), None)),
            Stage.TRIAGE: always(p.Delayed(1.0, "a test's")),
            Stage.ENCRYPTION: encryption.handle,
            Stage.PAYMENT: always(p.Waived("a test's")),
            Stage.DELIVERY: self.delivery(self.client),
            Stage.SETTLEMENT: Settlement(never, never).handle,
        }

    def delivery(self, store: Store) -> Handler:
        destination = Smarthost("127.0.0.1", self.receiver.port, "gate.example")
        schedule, random = Schedule(first=0.01, jitter=0.0, cap=0.01), Random(1)  # noqa: S311
        delivery = Delivery(ENVELOPES, destination, expiry=5 * DAY, random=random, schedule=schedule, clock=self.clock)
        terms = Terms(GATE, expiry=5 * DAY, delay=4 * 3600.0, suppression=30 * DAY, remote="mx.receiver.example")
        return Reporting(delivery.handle, store, ENVELOPES, CONTENT.sealing_key, terms, self.clock).handle

    def clock(self) -> float:
        return time.time() + self.now

    async def accept(self, mail: bytes = MAIL, to: str = TO) -> int:
        recipient = Recipient(LOOKUP.address(to), CONTENT.sealing_key.seal(to.encode()))
        submission = Submission("bank", CONTENT.sealing_key.seal(mail), (recipient,))
        return (await self.client.accept(submission)).notification_ids[0]

    def reports(self) -> list[Any]:
        """The machine-readable part of each report that arrived, and who it came from."""
        letters = [each for each in self.receiver.kept if each.rcpt_tos == ["ops@bank.example"]]
        assert [each.mail_from for each in letters] == ["<>"] * len(letters)
        contents = [each.content for each in letters if isinstance(each.content, bytes)]
        found = [message_from_bytes(content, policy=SMTPUTF8) for content in contents]
        return [letter.get_payload()[1].get_payload()[1] for letter in found]  # type: ignore[index,union-attr]


@pytest.fixture
async def house(client: Client) -> AsyncIterator[House]:
    """Bob takes open mail; everything else is as it comes."""
    person: dict[str, Any] = {"lookup": BOB.hex(), "wishes": {}, "policy": {"open": True}}
    address = CONTENT.sealing_key.seal(TO.encode()).hex()
    await client.execute("enroll_recipient", certificate=None, address=address, **person)
    receiver = Mailboxes()
    async with listening(receiver):
        yield House(client, receiver)


async def test_a_refusal_is_reported_once_and_the_address_gets_no_more(
    house: House, client: Client, eventually: Eventually
) -> None:
    """The whole way: 550, a report with the empty path, a suppression; the next mail is dead at once and told."""
    house.receiver.at_rcpt.append(say("550 5.1.1 <bob@receiver.example> unknown"))
    async with working(client, house.stages()):
        first = await house.accept()
        await eventually(lambda: len(house.reports()) == 1)
        await eventually(lambda: is_at(client, first, "dead"))
        second = await house.accept()
        await eventually(lambda: len(house.reports()) == 2)
        await eventually(lambda: is_at(client, second, "dead"))
    told, again = house.reports()
    (suppressed,) = await client.query("suppressed", lookup=BOB.hex())

    assert suppressed["reason"] == "550 5.1.1 <address> unknown"
    assert (await kinds(client, first))[-3:] == ["reported", "undeliverable", "returned"]
    assert (told["Action"], told["Status"], told["Remote-MTA"]) == ("failed", "5.1.1", "dns; mx.receiver.example")
    assert told["Final-Recipient"] == "rfc822; bob@receiver.example"
    assert (again["Action"], again["Status"]) == ("failed", "5.1.1")
    assert [each.rcpt_tos for each in house.receiver.kept] == [["ops@bank.example"]] * 2
    assert house.receiver.events.count("rcpt") == 3
    assert all(b"97 %" not in (each.content or b"") for each in house.receiver.kept)


async def test_what_leaves_comes_back_to_its_notification(house: House, client: Client, eventually: Eventually) -> None:
    """VERP: the address that a bounce comes to says what it is about."""
    async with working(client, house.stages()):
        id_ = await house.accept()
        await eventually(lambda: is_at(client, id_, "delivered"))

    assert RETURNS.read(str(house.receiver.kept[0].mail_from)) == Returned("bounce", id_)
    assert house.reports() == []


async def test_a_sender_that_is_not_proven_is_told_nothing(
    house: House, client: Client, eventually: Eventually
) -> None:
    """No backscatter: whoever was named in From has sent nothing."""
    house.authenticated = p.Unverified("a test's")
    house.receiver.at_rcpt.append(say("550 5.7.1 no"))
    async with working(client, house.stages()):
        id_ = await house.accept()
        await eventually(lambda: is_at(client, id_, "dead"))

    assert "reported" not in await kinds(client, id_)
    assert house.receiver.kept == []


async def test_a_delay_is_told_once_and_the_end_after_it(house: House, client: Client, eventually: Eventually) -> None:
    """After four hours the sender knows, after five days as well; not at every try between."""
    house.receiver.busy = True
    async with working(client, house.stages()):
        id_ = await house.accept()
        await eventually(lambda: house.receiver.events.count("rcpt") > 1)
        told_early = "reported" in await kinds(client, id_)
        house.now = 5 * 3600.0
        await eventually(lambda: _has(client, id_, "reported"))
        tries = house.receiver.events.count("rcpt")
        await eventually(lambda: house.receiver.events.count("rcpt") > tries + 3)
        house.now = 6 * DAY
        await eventually(lambda: is_at(client, id_, "dead"))
        await eventually(lambda: len(house.reports()) == 2)
    told = sorted((each["Action"], each["Status"]) for each in house.reports())

    assert not told_early
    assert told == [("delayed", "4.2.0"), ("failed", "4.2.0")]
    assert (await kinds(client, id_)).count("reported") == 2


@pytest.mark.parametrize(("notify", "reports"), [(("success",), ["relayed"]), ((), []), (None, [])])
async def test_success_is_told_only_where_it_was_asked_for(
    house: House, client: Client, eventually: Eventually, notify: Any, reports: list[str]
) -> None:
    """RFC 3461 section 5.2.2: this server does not report, so the sender learns that nobody will."""
    asked = envelope_field(SmtpEnvelope("ops@bank.example"), {TO: Request(notify)})
    async with working(client, house.stages()):
        id_ = await house.accept(asked + MAIL)
        await eventually(lambda: is_at(client, id_, "delivered"))
        await eventually(lambda: len(house.reports()) == len(reports))

    assert [each["Action"] for each in house.reports()] == reports
    assert (await kinds(client, id_)).count("reported") == len(reports)


async def test_what_was_taken_and_came_back_is_history_report_and_suppression(
    house: House, client: Client, eventually: Eventually
) -> None:
    """Delivered stays delivered, and its money captured; the sender knows better now."""
    bounces = Bounces(client, LOOKUP, 30 * DAY)
    teller = Teller(client, CONTENT, LOOKUP, GATE)
    async with working(client, house.stages()):
        id_ = await house.accept()
        await eventually(lambda: is_at(client, id_, "delivered"))
        for _ in range(2):
            await bounces.handle(Returned("bounce", id_), shapes.POSTFIX)
        counts = [await teller.tell(), await teller.tell()]
        await eventually(lambda: len(house.reports()) == 1)
    (told,) = house.reports()

    assert counts == [1, 0]
    assert (told["Action"], told["Status"]) == ("failed", "5.1.1")
    assert (await kinds(client, id_))[-2:] == ["bounced", "reported"]
    assert await is_at(client, id_, "delivered")
    assert len(await client.query("suppressed", lookup=BOB.hex())) == 1


async def test_what_says_nothing_of_ours_changes_nothing(house: House, client: Client, eventually: Eventually) -> None:
    """Vacations, garbage, a notification that there is not, an answer to another of our addresses."""
    bounces = Bounces(client, LOOKUP, 30 * DAY)
    async with working(client, house.stages()):
        id_ = await house.accept()
        await eventually(lambda: is_at(client, id_, "delivered"))
    before = await kinds(client, id_)
    for returned, mail in [
        (Returned("bounce", id_), shapes.VACATION),
        (Returned("bounce", id_), b"\xff\0" * 1_000),
        (Returned("bounce", id_ + 1), shapes.POSTFIX),
        (Returned("reply", id_), shapes.POSTFIX),
    ]:
        await bounces.handle(returned, mail)

    assert await kinds(client, id_) == before
    assert await client.query("bounces_waiting") == []
    assert await client.query("suppressions") == []


async def test_a_report_that_cannot_be_written_does_not_hold_the_mail(
    house: House, client: Client, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """What is delivered must not be sent again because a letter about it failed."""
    asked = envelope_field(SmtpEnvelope("ops@bank.example"), {TO: Request(("success",))})

    class Refusing:
        """A broker that takes no report."""

        async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
            return await client.query(name, **parameters)

        async def execute(self, _: str, /, **__: Any) -> dict[str, Any]:
            raise RuntimeError("bob@receiver.example")

    async with working(client, {**house.stages(), Stage.DELIVERY: house.delivery(Refusing())}):
        id_ = await house.accept(asked + MAIL)
        await eventually(lambda: is_at(client, id_, "delivered"))

    assert len(house.receiver.kept) == 1
    assert "no report that it is relayed: RuntimeError" in caplog.text
    assert "bob@" not in caplog.text


async def _has(client: Client, id_: int, kind: str) -> bool:
    return kind in await kinds(client, id_)
