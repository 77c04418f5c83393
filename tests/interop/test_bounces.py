"""Reports between us and others: a real Postfix's about mail of ours, and ours as foreign parsers read them."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTPUTF8
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from flufl.bounce import all_failures

from serving.bounces.returning import Bounces
from serving.bounces.telling import Teller
from serving.demo.running import free_ports
from serving.envelope import Request, SmtpEnvelope, envelope_field
from serving.origin import Origin
from serving.queue.client import Client
from serving.reports import Report, write_report
from tests.integration.stages import is_at, kinds, working
from tests.integration.test_reports import BOB, CONTENT, DAY, GATE, LOOKUP, MAIL, RETURNS, TO, House, Mailboxes
from tests.interop.postfix import Postfix

Eventually = Callable[..., Awaitable[None]]
PARSER = Path(__file__).parent / "bounceparser.pl"
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
ASKED = Origin(
    "ops@bank.example", "00", "<1@bank.example>", "From: ops@bank.example\r\nMessage-ID: <1@bank.example>\r\n"
)


@dataclass
class Intake:
    """Takes what comes back, as the SMTP intake does."""

    bounces: Bounces

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        returned = RETURNS.read(envelope.rcpt_tos[0])
        assert returned is not None
        assert isinstance(envelope.content, bytes)
        await self.bounces.handle(returned, envelope.content)
        return "250 2.0.0 ok"


@asynccontextmanager
async def listening(intake: Intake, port: int) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(intake, hostname="gate.example", loop=loop), "127.0.0.1", port)
    yield
    server.close()


@pytest.fixture
def gate() -> int:
    """The port to which Postfix brings what is for us."""
    return free_ports(1)[0]


@pytest.fixture
def postfix(gate: int) -> Iterator[Postfix]:
    """It takes mail for everybody at receiver.example before it knows that only Ann is there."""
    settings = {
        "virtual_mailbox_domains": "receiver.example, bank.example",
        "virtual_mailbox_maps": "inline:{ {ann@receiver.example=ann/} {ops@bank.example=box/} }",
        "smtpd_reject_unlisted_recipient": "no",
        "transport_maps": f"inline:{{ {{gate.example=smtp:[127.0.0.1]:{gate}}} }}",
    }
    with Postfix(settings) as running:
        yield running


@pytest.fixture
async def house(client: Client, postfix: Postfix) -> House:
    """Bob and Ann take open mail; Postfix is the next server."""
    for person in (TO, "ann@receiver.example"):
        values: dict[str, Any] = {"lookup": LOOKUP.address(person).hex(), "wishes": {}, "policy": {"open": True}}
        address = CONTENT.sealing_key.seal(person.encode()).hex()
        await client.execute("enroll_recipient", certificate=None, address=address, **values)
    return House(client, Mailboxes(port=postfix.port))


async def test_what_postfix_takes_and_bounces_later_is_history_suppression_and_a_report(
    house: House, client: Client, postfix: Postfix, gate: int, eventually: Eventually
) -> None:
    """The whole circle over a real bounce daemon: its report comes to us, ours to the sender, and foreign parsers read
    ours as they read Postfix's."""
    teller = Teller(client, CONTENT, LOOKUP, GATE)
    async with listening(Intake(Bounces(client, LOOKUP, 30 * DAY)), gate), working(client, house.stages()):
        id_ = await house.accept()
        await eventually(lambda: _has(client, id_, "bounced"), 30.0)
        await eventually(lambda: is_at(client, id_, "delivered"))
        await teller.tell()
        await eventually(lambda: len(postfix.mails()) == 1, 30.0)
    events = {event["kind"]: event["detail"] for event in await client.query("events", id=str(id_))}
    (suppressed,) = await client.query("suppressed", lookup=BOB.hex())
    (ours,) = postfix.mails()

    assert events["bounced"] == {"reply": '5.1.1 unknown user: "<address>"'}
    assert events["reported"]["action"] == "failed"
    assert suppressed["reason"] == '5.1.1 unknown user: "<address>"'
    assert ours.startswith(b"Return-Path: <>\n")
    assert all_failures(message_from_bytes(ours)) == (frozenset(), frozenset({TO.encode()}))
    assert parsed(ours) == ["bounce", f"{TO}\tuser_unknown\tfailed\t5.1.1"]


async def test_a_success_that_was_asked_for_comes_from_postfix_through_us(
    house: House, client: Client, postfix: Postfix, gate: int, eventually: Eventually
) -> None:
    """Postfix reports by itself (RFC 3461), to us, because MAIL FROM is ours; so the sender hears it from us."""
    asked = envelope_field(
        SmtpEnvelope("ops@bank.example", envelope_id="QQ 314"),
        {"ann@receiver.example": Request(("success",), "rfc822;Ann@receiver.example")},
    )
    teller = Teller(client, CONTENT, LOOKUP, GATE)
    async with listening(Intake(Bounces(client, LOOKUP, 30 * DAY)), gate), working(client, house.stages()):
        id_ = await house.accept(asked + MAIL, to="ann@receiver.example")
        await eventually(lambda: _has(client, id_, "confirmed"), 30.0)
        await teller.tell()
        await eventually(lambda: len(postfix.mails()) == 1, 30.0)
    parts: Any = message_from_bytes(postfix.mails()[0], policy=SMTPUTF8).get_payload()
    about_mail, about_recipient = parts[1].get_payload()

    assert (await kinds(client, id_)).count("reported") == 1
    assert about_mail["Original-Envelope-Id"] == "QQ 314"
    assert about_recipient["Original-Recipient"] == "rfc822; Ann@receiver.example"
    assert (about_recipient["Action"], about_recipient["Status"]) == ("delivered", "2.0.0")
    assert await client.query("suppressions") == []


@pytest.mark.parametrize(
    ("to", "reply", "reason", "status"),
    [
        (TO, "550 5.1.1 <address> unknown user", "user_unknown", "5.1.1"),
        (TO, "552 5.2.2 mailbox full", "over_quota", "5.2.2"),
        (TO, "tried for 432000 s; last: the connection broke", "unknown", "4.4.7"),
    ],
)
def test_our_reports_are_read_by_a_foreign_parser(to: str, reply: str, reason: str, status: str) -> None:
    """Mail::DeliveryStatus::BounceParser, which list managers in Perl use."""
    report = Report("abc", "failed", reply, NOW, NOW, remote="mx.receiver.example")

    assert parsed(write_report(ASKED, to, report, GATE, MAIL)) == ["bounce", f"{to}\t{reason}\tfailed\t{status}"]


def test_a_delay_is_no_bounce_to_it() -> None:
    """Or list managers would take people off their lists because a server is slow."""
    report = replace(Report("abc", "delayed", "450 4.2.0 busy", NOW, NOW), until=NOW)

    assert parsed(write_report(ASKED, TO, report, GATE, MAIL))[0] == "no bounce"


def parsed(mail: bytes) -> list[str]:
    ended = subprocess.run(["/usr/bin/perl", PARSER], input=mail, capture_output=True, timeout=30, check=True)
    return ended.stdout.decode().splitlines()


async def _has(client: Client, id_: int, kind: str) -> bool:
    return kind in await kinds(client, id_)
