"""Urgent mail says where to acknowledge it; whoever gets another's says why; and nothing else of a mail changes."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from serving.acknowledging import AcknowledgeLinks, Note, is_urgent
from serving.encryption.relayed import relay
from serving.encryption.sealed import payload
from serving.encryption.stage import Encryption
from serving.errors import Refused
from serving.pipeline import Enclosed, EnclosedFree
from serving.sealing import LookupKey
from serving.web.token import Links
from tests.unit.test_encryption import CERTIFICATE, CONTENT, DELIVERY, MAIL, NOW, OUTSIDE, Broker, _enrolled, _work
from tests.unit.test_relayed import HOSTILE

LINKS = Links(b"k" * 32)
URGENT: dict[str, Any] = {"prediction": {"label": "urgent"}}
ESCALATED: dict[str, Any] = {"waiver": "escalated", "escalated": {"round": 1, "step": 2}, "watched": "11"}
BOUNDARY = re.compile(rb"={15}\d+==")
"""Of what could not be read and is attached: another one each time."""
NOTE = Note("https://gate.example/r/acknowledged.token")


async def enclosed(
    facts: dict[str, Any], *, is_open: bool = False, escalates: bool = True, refuses: str = ""
) -> tuple[Enclosed | EnclosedFree, Broker]:
    broker = Broker({**_enrolled(CERTIFICATE, is_open=is_open), "escalates": int(escalates)})
    broker.refuses = refuses
    encryption = Encryption(
        broker, CONTENT, DELIVERY.sealing_key, "clarion@gate.example", NOW.timestamp,
        lookup=LookupKey(b"l" * 32), links=AcknowledgeLinks("https://gate.example/r", LINKS),
    )  # fmt: skip
    outcome = await encryption.handle(_work(MAIL, facts))
    assert isinstance(outcome, Enclosed | EnclosedFree)
    return outcome, broker


def mail_of(outcome: Enclosed | EnclosedFree) -> bytes:
    return DELIVERY.unseal(outcome.envelope.body).partition(b"\n")[2]


def read(octets: bytes) -> EmailMessage:
    message = message_from_bytes(octets, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize(
    ("facts", "is_one"),
    [
        ({}, False),
        (URGENT, True),
        ({"prediction": {"label": "not_urgent"}}, False),
        ({"waiver": "failed_open"}, True),
        ({"waiver": "failed_open", "prediction": {"label": "not_urgent"}}, True),
        ({**URGENT, "waiver": "delayed"}, False),
        ({"waiver": "digest"}, False),
        ({"waiver": "notice", "notice": "asked"}, False),
    ],
)
async def test_what_is_urgent_of_somebody_with_a_chain_is_watched(facts: dict[str, Any], is_one: bool) -> None:
    """And nothing else: a digest that wakes people at night is worse than none."""
    outcome, broker = await enclosed(facts)

    assert is_urgent(facts) == is_one
    assert broker.watched == (["7"] if is_one else [])
    assert outcome.watch == (11 if is_one else None)


async def test_without_a_chain_nothing_is_watched() -> None:
    """Most recipients have none."""
    outcome, broker = await enclosed(URGENT, escalates=False)

    assert (outcome.watch, broker.watched) == (None, [])


async def test_urgent_mail_is_not_held_back_because_it_cannot_be_watched() -> None:
    """A broker that refuses goes on refusing; one whose store fails is asked again."""
    outcome, _ = await enclosed(URGENT, refuses="denied")
    with pytest.raises(Refused, match="storage"):
        await enclosed(URGENT, refuses="storage")

    assert outcome.watch is None


async def test_what_was_escalated_begins_no_chain() -> None:
    """Ada's chain names grace, and grace's names ada: it would never end."""
    outcome, broker = await enclosed({**ESCALATED, **URGENT})

    assert (outcome.watch, broker.watched) == (None, [])


async def test_an_urgent_open_mail_is_the_same_below_what_we_prepend() -> None:
    """A DKIM signature must still verify; the link stands above it, and acknowledges this mail."""
    mail = mail_of((await enclosed(URGENT, is_open=True))[0])
    plain = mail_of((await enclosed({}, is_open=True))[0])
    link = str(read(mail)["Clarion-Acknowledge"])

    assert mail.endswith(MAIL)
    assert mail == f"Clarion-Acknowledge: {link}\r\n".encode() + plain
    assert LINKS.reaction.read(link.strip("<>").rpartition("/")[2], NOW.timestamp()) == (7, "acknowledged")
    assert "Clarion-Escalated" not in read(mail)


async def test_an_open_mail_that_was_escalated_says_so_above_it() -> None:
    """Byte for byte below, as every open mail."""
    mail = mail_of((await enclosed(ESCALATED, is_open=True))[0])

    assert mail.startswith(b"Clarion-Escalated: yes; its recipient has not acknowledged it\r\nClarion-Acknowledge: <")
    assert mail.endswith(MAIL)


async def test_the_outside_of_a_sealed_mail_tells_nothing_of_it() -> None:
    """Who saw the link on the way could acknowledge in the recipient's place."""
    for facts in (URGENT, ESCALATED):
        mail = mail_of((await enclosed(facts))[0])
        assert b"Acknowledge" not in mail
        assert b"gate.example/r/" not in mail


def test_a_sealed_urgent_mail_shows_the_link_below_its_text() -> None:
    """Mail programs show the parts of a mixed mail one below the other."""
    message = read(payload(MAIL, OUTSIDE.header, NOTE))
    first, second = message.iter_parts()

    assert message["Content-Type"].params["hp"] == "cipher"
    assert message["Subject"] == "disk full on db1"
    assert first.get_content() == "secret-canary: 97 %\r\n"
    assert second.get_content() == NOTE.text.replace("\n", "\r\n")
    assert message["Clarion-Acknowledge"] == f"<{NOTE.link}>"
    assert message["HP-Outer"]
    assert message["Bcc"] is None


def test_who_gets_anothers_mail_reads_why_first() -> None:
    """An alarm about a machine that somebody never heard of looks like a mistake."""
    message = read(payload(MAIL, OUTSIDE.header, Note(NOTE.link, is_escalated=True)))
    first, second = message.iter_parts()

    assert "urgent for somebody else, who has not acknowledged it in time" in first.get_content()
    assert second.get_content() == "secret-canary: 97 %\r\n"


@pytest.mark.parametrize(
    "kind", ["multipart/signed; boundary=b", "multipart/encrypted; boundary=b", "application/pkcs7-mime"]
)
def test_what_is_signed_or_sealed_itself_stays_whole(kind: str) -> None:
    """Many mail programs verify and open it only as the whole mail."""
    raw = f"From: a@b.example\r\nContent-Type: {kind}\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n".encode()

    assert payload(raw, OUTSIDE.header, NOTE) == f"Clarion-Acknowledge: <{NOTE.link}>\r\n".encode() + payload(
        raw, OUTSIDE.header
    )


@pytest.mark.parametrize(
    "raw", [*HOSTILE, MAIL.replace(b"\r\nBcc", b"\r\nContent-Transfer-Encoding: 8bit\r\nBcc") + b"\xff"]
)
@pytest.mark.parametrize("is_escalated", [False, True])
def test_a_note_stands_beside_any_mail(raw: bytes, is_escalated: bool) -> None:
    """However broken it is; the body's octets are all there."""
    note = Note(NOTE.link, is_escalated)
    noted, plain = payload(raw, OUTSIDE.header, note), payload(raw, OUTSIDE.header)
    message = read(noted)

    assert message.get_content_type() == "multipart/mixed"
    assert NOTE.link.encode() in noted
    body = plain.partition(b"\r\n\r\n")[2]
    assert BOUNDARY.sub(b"", body) in BOUNDARY.sub(b"", noted)
    assert message.get("Content-Transfer-Encoding", "7bit") == ("8bit" if b"8bit" in raw else "7bit")


def test_no_note_is_the_mail_as_it_was() -> None:
    """Mail that is not urgent is not touched."""
    relayed, sealed = relay(MAIL, OUTSIDE), payload(MAIL, OUTSIDE.header)

    assert relayed.endswith(MAIL)
    assert not [mail for mail in (relayed, sealed) if b"Clarion-Acknowledge" in mail or b"multipart" in mail]


def test_the_same_link_is_made_each_time() -> None:
    """A mail that is written again after a crash says the same."""
    links = AcknowledgeLinks("https://gate.example/r", LINKS)
    at = datetime(2026, 11, 29, tzinfo=UTC).timestamp()

    assert links.make(7, at) == links.make(7, at)
    assert links.make(7, at).isascii()
