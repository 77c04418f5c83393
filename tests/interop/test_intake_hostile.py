"""Malformed and hostile mail of others, and a corpus of spam, comes in: each is kept, or refused with a reason."""

import asyncio
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from serving.mail import with_crlf
from tests.intakes import Intake, MakeIntake

ADA = "ada@example.net"
ENVELOPE = f"MAIL FROM:<ops@example.org>\r\nRCPT TO:<{ADA}>\r\nDATA\r\n".encode()
DIFFERENT = 885  # of those that are kept: the others are repetitions
CONNECTIONS, FEW = 16, 15
ANY: dict[str, Any] = {"intake_networks": {"127.0.0.0/8": "ops"}, "rate": 0.0}  # however fast the machine is

pytestmark = pytest.mark.real_mail


def samples(real_mail: Path) -> Iterator[bytes]:
    with tarfile.open(real_mail / "hostile" / "hostile_mail_samples.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                yield file.read()


def corpus(real_mail: Path) -> list[bytes]:
    rows = parquet.read_table(real_mail / "hostile" / "spamassassin_raw.parquet", columns=["raw"]).to_pylist()
    return [row["raw"] for row in rows]


async def send(intake: Intake, mails: Iterator[bytes]) -> Counter[str]:
    """How often each reply was given; each mail on whichever connection is free, a few on each."""
    codes: Counter[str] = Counter()

    async def work() -> None:
        while some := list(islice(mails, FEW)):
            async with intake.talk() as talk:
                await talk.say("EHLO client.example")
                for mail in some:
                    await talk.send(ENVELOPE + stuffed(mail))
                    replies = [await talk.reply() for _ in range(4)]
                    codes[replies[-1][:9]] += 1

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return codes


def stuffed(mail: bytes) -> bytes:
    """As a client sends it behind DATA, its end included (RFC 5321 section 4.5.2)."""
    lines = (b"\r\n" + mail).replace(b"\r\n.", b"\r\n..").removeprefix(b"\r\n")
    return lines + (b".\r\n" if mail.endswith(b"\r\n") else b"\r\n.\r\n")


async def test_every_hostile_sample_is_kept_or_refused(make_intake: MakeIntake, real_mail: Path) -> None:
    """Sent as they are, which no honest client does, and with the line ends that SMTP has."""
    intake = await make_intake(**ANY)
    raw = list(samples(real_mail))
    as_they_are = await send(intake, iter(raw))
    with_line_ends = await send(intake, iter([with_crlf(mail) for mail in raw]))

    assert as_they_are == {"250 2.0.0": 267, "550 5.6.0": 562}
    assert with_line_ends == {"250 2.0.0": 818, "550 5.6.0": 11}
    assert await intake.count() == DIFFERENT


async def test_a_corpus_of_spam_is_kept(make_intake: MakeIntake, real_mail: Path) -> None:
    """What people are really sent."""
    intake = await make_intake(**ANY)
    codes = await send(intake, iter([with_crlf(mail) for mail in corpus(real_mail)]))

    assert codes == {"250 2.0.0": 6038, "550 5.6.0": 8}
    assert (await send(intake, iter([b"From: a@b.example\r\n\r\nstill there\r\n"]))) == {"250 2.0.0": 1}
