"""Malformed and hostile mail of others, and a corpus of spam, in by SMTP and out again by SMTP, signed before: what is
delivered open is octet for octet what came, and its signature verifies."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from itertools import islice
from pathlib import Path

import dkim  # type: ignore[import-untyped]
import pytest

from serving.intake.acceptance import Acceptance
from serving.mail import fits_smtp, split, with_crlf
from serving.queue.client import Client
from tests.intakes import Intake, MakeIntake
from tests.integration.receivers import Receiver, listening
from tests.integration.stages import working
from tests.integration.test_reports import CONTENT, LOOKUP, RETURNS, House, Mailboxes
from tests.interop.test_intake_hostile import corpus, samples, stuffed
from tests.unit.zones import RSA

Eventually = Callable[..., Awaitable[None]]
CONNECTIONS, FEW = 16, 15
ENDS = {"same", "same and verified", "written anew", "attached whole", "refused with a reason"}
LARGEST = 30_000_000
_MBOX_LINE = re.compile(rb"\AFrom [^\r\n]*\r\n")

pytestmark = [pytest.mark.real_mail, pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Passage:
    """What went in, and what the intake said of each; every mail has a recipient of its own, by its number."""

    mails: Sequence[bytes]
    replies: dict[int, str] = field(default_factory=dict)

    async def send(self, intake: Intake) -> None:
        numbered = iter(enumerate(self.mails))
        await asyncio.gather(*(self._work(intake, numbered) for _ in range(CONNECTIONS)))

    def accepted(self) -> set[int]:
        return {number for number, reply in self.replies.items() if reply.startswith("250")}

    async def _work(self, intake: Intake, numbered: Iterator[tuple[int, bytes]]) -> None:
        while some := list(islice(numbered, FEW)):
            async with intake.talk() as talk:
                await talk.say("EHLO client.example")
                for number, mail in some:
                    await talk.send(f"MAIL FROM:<ops@example.org>\r\nRCPT TO:<{_person(number)}>\r\nDATA\r\n".encode())
                    await talk.send(stuffed(mail))
                    self.replies[number] = [await talk.reply() for _ in range(4)][-1]


def received(receiver: Receiver) -> dict[int, bytes]:
    """What arrived, by number; each once."""
    found = {_number(each.rcpt_tos[0]): each.content for each in receiver.kept}
    assert len(found) == len(receiver.kept)
    return {number: content for number, content in found.items() if isinstance(content, bytes)}


async def through(client: Client, make_intake: MakeIntake, eventually: Eventually, mails: Sequence[bytes]) -> Counter:  # type: ignore[type-arg]
    """How many were kept and refused, and of the kept how many are the same and verify; anything else fails."""
    await client.execute(
        "enroll_principal", id="anybody", name="x", domains=[], policy={"open": True, "pays": "nobody"}
    )
    receiver = Mailboxes()
    acceptance = Acceptance(client, CONTENT.sealing_key, LOOKUP, "gate.example", time.time)
    intake = await make_intake(
        parts={"acceptance": acceptance, "addresses": RETURNS}, intake_networks={"127.0.0.0/8": "anybody"}, rate=0.0
    )
    passage = Passage(mails)
    async with listening(receiver, size=LARGEST), working(client, House(client, receiver).stages()):
        await passage.send(intake)
        await eventually(lambda: _all(receiver, len(passage.accepted())), 600.0)
    arrived, counts = received(receiver), Counter[str]()
    assert set(arrived) == passage.accepted()
    for number, mail in enumerate(mails):
        counts[await asyncio.to_thread(_judged, passage.replies[number], mail, arrived.get(number))] += 1
    return counts


async def test_every_hostile_sample_comes_out_as_it_went_in(
    client: Client, make_intake: MakeIntake, eventually: Eventually, real_mail: Path
) -> None:
    """What other projects' parsers broke on must neither stop us nor be changed on the way."""
    mails = await asyncio.to_thread(lambda: [_signed(raw) for raw in samples(real_mail)])

    counts = await through(client, make_intake, eventually, mails)

    assert set(counts) <= ENDS, counts
    assert counts["same and verified"] > 500, counts
    assert counts.total() == 829


async def test_a_corpus_of_spam_comes_out_as_it_went_in(
    client: Client, make_intake: MakeIntake, eventually: Eventually, real_mail: Path
) -> None:
    """What people are really sent."""
    mails = await asyncio.to_thread(lambda: [_signed(raw) for raw in corpus(real_mail)])

    counts = await through(client, make_intake, eventually, mails)

    assert set(counts) <= ENDS, counts
    assert counts["same and verified"] > 5_500, counts
    assert counts.total() == 6_046


def _judged(reply: str, mail: bytes, arrived: bytes | None) -> str:
    if arrived is None:
        return "refused with a reason" if reply[:2] == "55" and len(reply) > 10 else f"no reason: {reply[:3]}"
    whole = mail if mail.endswith(b"\r\n") else mail + b"\r\n"
    if split(mail) is not None and b"\r\n\r\n" not in whole:
        whole += b"\r\n"  # a header alone gets its end
    if not arrived.endswith(whole):
        if b"\nSubject: A mail that could not be read\r\n" in arrived:
            is_none = split(mail) is None or not fits_smtp(mail)
            return "attached whole" if is_none and _attached(arrived).endswith((mail, whole)) else "changed"
        anew = b"Clarion-Reencoded: yes" in arrived and not fits_smtp(mail)
        return "written anew" if anew else "changed"
    return "same and verified" if _verifies(arrived) else ("changed in front" if _verifies(whole) else "same")


def _attached(arrived: bytes) -> bytes:
    """What is no mail goes out as an attachment of one."""
    parts = (
        part for part in message_from_bytes(arrived).walk() if part.get_content_type() == "application/octet-stream"
    )
    payloads = (part.get_payload(decode=True) for part in parts)
    return b"".join(payload for payload in payloads if isinstance(payload, bytes))


def _signed(raw: bytes) -> bytes:
    """The mail with the line ends of SMTP and without the line of an mbox above it, signed where it can be."""
    mail = _MBOX_LINE.sub(b"", with_crlf(raw))
    try:
        signed = RSA.sign(mail, "bank.example", canonicalize=(b"simple", b"simple"))
        return signed if _verifies(signed) else mail
    except Exception:  # whatever dkimpy says of mail that is none
        return mail


def _verifies(mail: bytes) -> bool:
    try:
        return bool(dkim.verify(mail, dnsfunc=lambda *_, **__: RSA.record.encode()))
    except Exception:  # the same
        return False


def _person(number: int) -> str:
    return f"n{number}@receiver.example"


def _number(address: str) -> int:
    return int(address.partition("@")[0].removeprefix("n"))


async def _all(receiver: Receiver, count: int) -> bool:
    return len(receiver.kept) >= count
