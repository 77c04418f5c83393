"""Malformed and hostile mail of others, and a corpus of spam, comes in: each is kept, or refused with a reason."""

import asyncio
import tarfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from serving.mail import with_crlf
from serving.queue.client import Client
from tests.intakes import Intake, MakeIntake, intakes

ADA = "ada@example.net"
CONNECTIONS = 16

pytestmark = pytest.mark.real_mail


@pytest.fixture
async def make_intake(client: Client, tmp_path: Path) -> AsyncIterator[MakeIntake]:
    async with intakes(client, tmp_path) as make:
        yield make


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
    """How often each reply was given; each mail on whichever connection is free."""
    codes: Counter[str] = Counter()

    async def work() -> None:
        for mail in mails:
            async with intake.talk() as talk:
                await talk.say("EHLO client.example")
                await talk.begin(ADA)
                body = mail.replace(b"\r\n.", b"\r\n..")
                await talk.send((b"." if body.startswith(b".") else b"") + body)
                await talk.send(b".\r\n" if mail.endswith(b"\r\n") else b"\r\n.\r\n")
                codes[(await talk.reply())[:9]] += 1

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return codes


async def test_every_hostile_sample_is_kept_or_refused(make_intake: MakeIntake, real_mail: Path) -> None:
    """Sent as they are, which no honest client does, and with the line ends that SMTP has."""
    intake = await make_intake(intake_networks={"127.0.0.0/8": "ops"})
    raw = list(samples(real_mail))
    as_they_are = await send(intake, iter(raw))
    with_line_ends = await send(intake, iter([with_crlf(mail) for mail in raw]))

    assert as_they_are == {"250 2.0.0": 267, "550 5.6.0": 562}
    assert with_line_ends == {"250 2.0.0": 818, "550 5.6.0": 11}
    assert await intake.count() == as_they_are["250 2.0.0"] + with_line_ends["250 2.0.0"]


async def test_a_corpus_of_spam_is_kept(make_intake: MakeIntake, real_mail: Path) -> None:
    """What people are really sent."""
    intake = await make_intake(intake_networks={"127.0.0.0/8": "ops"})
    codes = await send(intake, iter([with_crlf(mail) for mail in corpus(real_mail)]))

    assert codes == {"250 2.0.0": 6038, "550 5.6.0": 8}
    assert (await send(intake, iter([b"From: a@b.example\r\n\r\nstill there\r\n"]))) == {"250 2.0.0": 1}
