"""A certificate's end is told ahead, sealed, and once: against a real broker."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email import message_from_bytes
from email.policy import SMTPUTF8
from typing import Any

import pytest
from nacl.public import PrivateKey
from pysequoia import ArmorKind, armor

from serving.encryption.bundle import Block, bundle
from serving.expiry_notice import keep_warning, warn
from serving.queue.client import Client
from serving.sealing import LookupKey, UnsealingKey
from tests.unit.certificates import ANN, NOW, lasting

CONTENT, LOOKUP = UnsealingKey(bytes(PrivateKey.generate())), LookupKey(b"l" * 32)
GATE, DAY = "clarion@gate.example", 86_400.0


async def enroll(client: Client, *seconds: float) -> None:
    """Ann, whose certificates end so long after NOW."""
    octets = (armor(lasting(each), ArmorKind.PublicKey).strip().encode() for each in seconds)
    text = bundle([Block("openpgp", each) for each in octets])
    person: dict[str, Any] = {"lookup": LOOKUP.address(ANN).hex(), "wishes": {}, "policy": {}}
    sealed = CONTENT.sealing_key.seal(text.encode()).hex()
    address = CONTENT.sealing_key.seal(ANN.encode()).hex()
    await client.execute("enroll_recipient", certificate=sealed, address=address, **person)


async def notices(client: Client) -> list[dict[str, Any]]:
    return await client.query("peek", stage="encryption")


async def test_who_is_told_is_told_once_for_each_end(client: Client) -> None:
    """A daily mail for a month would be filtered away before the day that counts."""
    await enroll(client, 10 * DAY)
    told = [await warn(client, CONTENT, LOOKUP, GATE, NOW + timedelta(days=day)) for day in range(3)]
    (waiting,) = await notices(client)
    await enroll(client, 12 * DAY)
    await warn(client, CONTENT, LOOKUP, GATE, NOW)

    assert told == [1, 1, 1]
    assert len(await notices(client)) == 2
    (row,) = await client.query("notification", id=waiting["id"])
    assert (row["facts"]["notice"], row["facts"]["open"]) == ("expiring", False)
    (body,) = await client.query("body", message=row["message"])
    letter = message_from_bytes(CONTENT.unseal(bytes.fromhex(body["body"])), policy=SMTPUTF8)
    assert letter["To"] == ANN
    assert f"ends on {NOW + timedelta(days=10):%Y-%m-%d}" in letter["Subject"]


@pytest.mark.parametrize("seconds", [(40 * DAY,), (10 * DAY, 400 * DAY)])
async def test_whose_mail_will_still_be_sealed_is_not_told(client: Client, seconds: tuple[float, ...]) -> None:
    """One that lasts stands in for those that end."""
    await enroll(client, *seconds)

    assert await warn(client, CONTENT, LOOKUP, GATE, NOW) == 0
    assert await notices(client) == []


async def test_the_operator_reads_it_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture, eventually: Callable[..., Awaitable[None]]
) -> None:
    """How many, and what lists them; no address."""
    await enroll(client, 10 * DAY)
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(keep_warning(client, CONTENT, LOOKUP, GATE, NOW.timestamp, every=0.01))
        await eventually(lambda: caplog.text.count("recipients whose certificates end soon: 1") > 1)
        task.cancel()

    assert "home.example" not in caplog.text
    assert len(await notices(client)) == 1
