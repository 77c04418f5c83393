"""From SMTP to SMTP: what a sender asked at the real intake, through the stages, to the report in its own mailbox."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import SMTPUTF8
from typing import Any

import pytest

from serving.authentication.stage import Authentication
from serving.bounces.returning import Bounces
from serving.bounces.telling import Teller
from serving.identifiers import parse_id
from serving.intake.acceptance import Acceptance
from serving.intake.returned import Returns
from serving.mail import with_crlf
from serving.pipeline import Stage
from serving.queue.client import Client, Recipient, Submission
from serving.stage import Handler
from tests.intakes import Intake, MakeIntake
from tests.integration.receivers import listening, say
from tests.integration.stages import is_at, kinds, working
from tests.integration.test_reports import BOB, CONTENT, DAY, GATE, LOOKUP, RETURNS, TO, House, Mailboxes
from tests.unit.bounces import shapes

Eventually = Callable[..., Awaitable[None]]
SENDER = "ops@example.org"
MAIL = (
    b"From: Ops <ops@example.org>\r\nTo: bob@receiver.example\r\nSubject: secret-canary\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nsecret-canary: 97 %\r\n"
)


@dataclass
class Smtp:
    """An intake before the stages of a house, and the reports that came to the sender's mailbox."""

    house: House
    intake: Intake

    def stages(self) -> Mapping[Stage, Handler]:
        """Authentication is the real one too: by the key with which the sender logged in."""
        authentication = Authentication(self.house.client, CONTENT)
        return {**self.house.stages(), Stage.AUTHENTICATION: authentication.handle}

    async def send(self, asked: str = "", of_recipient: str = "", mail: bytes = MAIL) -> int:
        """The notification."""
        async with self.intake.talk() as talk:
            await talk.log_in(self.intake.key)
            await talk.say(f"MAIL FROM:<{SENDER}>{asked}")
            await talk.say(f"RCPT TO:<{TO}>{of_recipient}")
            await talk.say("DATA")
            await talk.send(mail + b".\r\n")
            message = (await talk.reply()).removeprefix("250 2.0.0 accepted as ")
        (row,) = await self.house.client.query("message", id=str(parse_id(message)))
        return int(row["id"])

    async def bring(self, to: str, mail: bytes) -> str:
        """What a foreign server says to us, with the empty path."""
        async with self.intake.talk() as talk:
            await talk.say("EHLO mx.receiver.example")
            return await talk.mail(to, mail=with_crlf(mail), sender="")

    def reports(self) -> list[tuple[Any, Any]]:
        """What each says about the mail, and about its recipient."""
        letters = [each.content for each in self.house.receiver.kept if each.rcpt_tos == [SENDER]]
        found: list[Any] = [message_from_bytes(each, policy=SMTPUTF8) for each in letters if isinstance(each, bytes)]
        return [tuple(letter.get_payload()[1].get_payload()) for letter in found]


@pytest.fixture
async def smtp(client: Client, make_intake: MakeIntake) -> AsyncIterator[Smtp]:
    """Bob takes open mail; one server takes all that leaves."""
    person: dict[str, Any] = {"lookup": BOB.hex(), "wishes": {}, "policy": {"open": True}}
    address = CONTENT.sealing_key.seal(TO.encode()).hex()
    await client.execute("enroll_recipient", certificate=None, address=address, **person)
    receiver = Mailboxes()
    acceptance = Acceptance(client, CONTENT.sealing_key, LOOKUP, "gate.example", time.time)
    intake = await make_intake(
        returned=Returns({"bounce": Bounces(client, LOOKUP, 30 * DAY).handle}),
        parts={"acceptance": acceptance, "addresses": RETURNS},
    )
    async with listening(receiver):
        yield Smtp(House(client, receiver), intake)


async def test_a_refusal_comes_back_under_the_names_that_the_sender_gave(
    smtp: Smtp, client: Client, eventually: Eventually
) -> None:
    """ENVID and ORCPT are how a program knows which of its mails it was (RFC 3461 sections 4.2 and 4.4)."""
    smtp.house.receiver.at_rcpt.append(say("550 5.7.1 <bob@receiver.example> not today"))
    async with working(client, smtp.stages()):
        id_ = await smtp.send(" ENVID=QQ+20314 RET=HDRS", " NOTIFY=FAILURE ORCPT=rfc822;Bob+2Bx@receiver.example")
        await eventually(lambda: is_at(client, id_, "dead"))
        await eventually(lambda: len(smtp.reports()) == 1)
    ((about_mail, about_recipient),) = smtp.reports()

    assert about_mail["Original-Envelope-Id"] == "QQ 314"
    assert about_recipient["Original-Recipient"] == "rfc822; Bob+x@receiver.example"
    assert about_recipient["Final-Recipient"] == "rfc822; bob@receiver.example"
    assert (about_recipient["Action"], about_recipient["Status"]) == ("failed", "5.7.1")
    assert b"97 %" not in b"".join(each.content for each in smtp.house.receiver.kept if isinstance(each.content, bytes))


async def test_who_asked_for_nothing_gets_nothing(smtp: Smtp, client: Client, eventually: Eventually) -> None:
    """NOTIFY=NEVER: the history alone tells."""
    smtp.house.receiver.at_rcpt.append(say("550 5.7.1 no"))
    async with working(client, smtp.stages()):
        id_ = await smtp.send("", " NOTIFY=NEVER")
        await eventually(lambda: is_at(client, id_, "dead"))

    assert "reported" not in await kinds(client, id_)
    assert smtp.house.receiver.kept == []


async def test_a_bounce_that_comes_by_smtp_is_told_to_who_sent_by_smtp(
    smtp: Smtp, client: Client, eventually: Eventually
) -> None:
    """The circle over one port: mail in, mail out, its bounce in, and the report out."""
    teller = Teller(client, CONTENT, LOOKUP, GATE)
    async with working(client, smtp.stages()):
        id_ = await smtp.send(" ENVID=QQ314")
        await eventually(lambda: is_at(client, id_, "delivered"))
        path = str(smtp.house.receiver.kept[0].mail_from)
        taken = [await smtp.bring(path, shapes.POSTFIX) for _ in range(2)]
        await teller.tell()
        await eventually(lambda: len(smtp.reports()) == 1)
    ((about_mail, about_recipient),) = smtp.reports()

    assert taken == ["250 2.0.0 accepted"] * 2
    assert (await kinds(client, id_))[-2:] == ["bounced", "reported"]
    assert about_mail["Original-Envelope-Id"] == "QQ314"
    assert (about_recipient["Action"], about_recipient["Status"]) == ("failed", "5.1.1")


async def test_mail_that_an_operator_gives_up_is_told_to_its_sender(
    smtp: Smtp, client: Client, eventually: Eventually
) -> None:
    """It had our 250; nobody else can tell."""
    teller = Teller(client, CONTENT, LOOKUP, GATE)
    stages = dict(smtp.stages())
    del stages[Stage.PAYMENT]
    async with working(client, stages):
        id_ = await smtp.send(" ENVID=QQ314")
        await eventually(lambda: _waits_at(client, id_, "payment"))
        await client.execute("kill", id=str(id_), cause="bob@receiver.example is on leave")
        await teller.tell()
        await eventually(lambda: len(smtp.reports()) == 1)
    ((about_mail, about_recipient),) = smtp.reports()

    assert about_mail["Original-Envelope-Id"] == "QQ314"
    assert (about_recipient["Action"], about_recipient["Status"]) == ("failed", "5.7.0")
    assert (await kinds(client, id_))[-2:] == ["killed", "reported"]


async def test_mail_of_a_sender_that_is_not_proven_dies_in_silence(smtp: Smtp, client: Client) -> None:
    """No backscatter: whoever it names has maybe sent nothing."""
    id_ = await smtp.send()
    await client.execute("kill", id=str(id_), cause="x")
    counts = [await Teller(client, CONTENT, LOOKUP, GATE).tell(), len(await client.query("bounces_waiting"))]

    assert counts == [0, 0]
    assert "reported" not in await kinds(client, id_)


async def _waits_at(client: Client, id_: int, stage: str) -> bool:
    (row,) = await client.query("notification", id=str(id_))
    return bool(row["stage"] == stage)


async def test_the_same_mail_by_http_is_another_submission(smtp: Smtp, client: Client) -> None:
    """Each door has its own idea of "the same" (a key that is given, or the mail itself): a repetition at one must not
    hide what came through the other."""
    first, again = await smtp.send(), await smtp.send()
    recipient = Recipient(BOB, CONTENT.sealing_key.seal(TO.encode()))
    submitted = await client.accept(Submission("ops", CONTENT.sealing_key.seal(MAIL), (recipient,), "key", b"d" * 32))
    (by_http,) = submitted.notification_ids
    message = (await client.query("notification", id=str(first)))[0]["message"]

    assert first == again != by_http
    assert [row["id"] for row in await client.query("message", id=message)] == [str(first)]
