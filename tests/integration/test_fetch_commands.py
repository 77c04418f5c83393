"""`clarion keys fetch` and `expiring` against a real broker and a real key directory."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pysequoia import ArmorKind, armor

from serving import fetch_cli
from serving.encryption.bundle import Block, bundle
from serving.expiring import Lapsing, lapsing
from serving.keyring import load_sealing, load_unsealing
from serving.queue.client import Client
from serving.sealing import SealingKey, load_lookup
from tests.conftest import BrokerProcess
from tests.integration import terminal
from tests.integration.terminal import settle
from tests.unit.certificates import ANN, CERTIFICATE, NOW, crowded, fresh, lasting, revoked
from tests.unit.key_directories import Home, key_directory

DAY = 86_400.0
POLICY = {"pays": False, "sealing": "openpgp"}
BROUGHT = Block("openpgp", CERTIFICATE.strip().encode())


@pytest.fixture
def keys(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The keys of a home whose broker is that one."""
    return settle(broker, monkeypatch) / "keys"


@pytest.fixture
async def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    """A key directory of home.example that the commands ask."""
    async with key_directory(tmp_path, fresh()) as home:
        monkeypatch.setattr(fetch_cli, "key_directory", home.directory)
        yield home


async def enroll(client: Client, keys: Path, address: str, *certificates: Block, key: SealingKey | None = None) -> None:
    sealing = key or load_sealing(keys, "content")
    text = sealing.seal(bundle(certificates).encode()).hex() if certificates else None
    person: dict[str, Any] = {"lookup": load_lookup(keys).address(address).hex(), "certificate": text}
    person |= {"address": sealing.seal(address.encode()).hex(), "wishes": {}, "policy": POLICY}
    await client.execute("enroll_recipient", **person)


async def said(*words: str) -> Any:
    """What the command prints as JSON."""
    return json.loads(await asyncio.to_thread(terminal.said, *words, "--json"))


async def complaint(*words: str) -> str:
    return await asyncio.to_thread(terminal.complaint, *words)


async def test_a_published_certificate_is_shown_and_registered(keys: Path, directory: Home, client: Client) -> None:
    """And what is known of the recipient besides stays as it was."""
    await enroll(client, keys, ANN)
    directory.published.body = lasting(100 * DAY)
    (tried,) = await said("keys", "fetch", ANN, "--dry-run")
    held_after_trial = await said("keys", "show", ANN)
    (row,) = await said("keys", "fetch", ANN)
    (shown,) = await said("keys", "show", ANN)
    (person,) = await client.query("recipient", lookup=load_lookup(keys).address(ANN).hex())

    assert held_after_trial == []
    assert tried == {**row, "registered": False}
    assert (row["source"], row["registered"]) == ("wkd", True)
    assert abs(row["until"] - NOW.timestamp() - 100 * DAY) <= 1
    assert (shown["fingerprint"], shown["source"], shown["until"]) == (row["fingerprint"], "wkd", row["until"])
    assert shown["state"] == "usable"
    assert person["policy"] == POLICY


async def test_what_was_brought_stays_until_told_otherwise(keys: Path, directory: Home, client: Client) -> None:
    """A web server's word does not overrule the owner's by itself."""
    await enroll(client, keys, ANN, BROUGHT)
    refused = await complaint("keys", "fetch", ANN)
    before = await said("keys", "show", ANN)
    (row,) = await said("keys", "fetch", ANN, "--replace")
    after = await said("keys", "show", ANN)

    assert "--replace" in refused
    assert [each["source"] for each in before] == ["uploaded"]
    assert [(each["source"], each["fingerprint"]) for each in after] == [("wkd", row["fingerprint"])]
    assert directory.published.asked


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"x" * 4_000_000, "larger than 1 MiB"),
        (b"none", "unreadable"),
        (revoked(), "revoked"),
        (fresh("eve@home.example"), "address is not in the certificate"),
    ],
)
async def test_what_cannot_be_used_is_not_registered(
    keys: Path, directory: Home, client: Client, body: bytes, reason: str
) -> None:
    """The same outcomes as of a file, and the operator reads which."""
    await enroll(client, keys, ANN)
    directory.published.body = body

    assert reason in await complaint("keys", "fetch", ANN)
    assert await said("keys", "show", ANN) == []


async def test_nobody_is_registered_by_a_fetch(keys: Path, directory: Home, client: Client) -> None:
    """A recipient has wishes and a policy, which a web server does not know."""
    assert "see `clarion recipient add`" in await complaint("keys", "fetch", ANN)
    assert directory.published.asked
    assert await client.query("recipient", lookup=load_lookup(keys).address(ANN).hex()) == []


async def test_who_expires_soon_is_listed(keys: Path, client: Client) -> None:
    """Who has a certificate that lasts is not, nor who has none."""
    soon, later = Block("openpgp", _armoured(lasting(10 * DAY))), Block("openpgp", _armoured(crowded([40 * DAY])))
    await enroll(client, keys, "bob@home.example")
    await enroll(client, keys, ANN, soon)
    (first,) = await said("keys", "expiring")
    await enroll(client, keys, ANN, soon, later)
    second, third = await said("keys", "expiring"), await said("keys", "expiring", "--within", "50")
    await enroll(client, keys, ANN, Block("openpgp", _armoured(revoked())))
    (fourth,) = await said("keys", "expiring")

    assert abs(first.pop("until") - (NOW + timedelta(days=10)).timestamp()) <= 1
    assert (first["recipient"], first["method"], first["source"]) == (ANN, "openpgp", "uploaded")
    assert first["state"] == "ends"
    assert second == []
    assert len(third) == 2
    assert (fourth["until"], fourth["state"]) == (None, "the certificate is revoked")


async def test_no_recipient_is_passed_over_between_two_pages(keys: Path, client: Client) -> None:
    """The one whose certificate ends may be the last of thousands."""
    people = {f"ann{number}@home.example" for number in range(7)}
    for person in people:
        await enroll(client, keys, person, BROUGHT)  # which is for another address
    found = await lapsing(client, load_unsealing(keys, "content"), NOW, page_size=3)

    assert len(found) == len(people)
    assert {each.recipient for each in found if isinstance(each, Lapsing)} == people


async def test_expiry_needs_the_content_key_and_says_so(keys: Path, client: Client) -> None:
    """One recipient whom it does not open hides no other."""
    await enroll(client, keys, "eve@home.example", BROUGHT, key=load_sealing(keys, "delivery"))
    await enroll(client, keys, ANN, Block("openpgp", _armoured(lasting(10 * DAY))))
    listed = await said("keys", "expiring")
    (keys / "content.private").unlink()
    without = await complaint("keys", "expiring")

    assert sorted(each["recipient"] or "" for each in listed) == ["", ANN]
    assert any("no content key" in each["state"] for each in listed)
    assert "content.private" in without


def _armoured(octets: bytes) -> bytes:
    return armor(octets, ArmorKind.PublicKey).strip().encode()
