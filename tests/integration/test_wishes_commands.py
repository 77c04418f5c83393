"""`clarion recipient wishes` against a real broker: shown, changed, refused at the door, sealed, and resealed."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from serving.keyring import load_unsealing
from serving.queue.client import Client
from serving.resealing import Resealing, blobs_by_key
from serving.sealing import PURPOSES, load_lookup
from serving.wishes.lists import Lists
from tests.conftest import BrokerProcess
from tests.integration.terminal import complaint, said, settle

ADA = "ada@home.example"


@pytest.fixture
async def home(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where Ada is registered."""
    home = settle(broker, monkeypatch)
    await asyncio.to_thread(said, "recipient", "add", ADA, "--open", "--not-urgent", "delay")
    return home


async def wishes(*options: str) -> dict[str, Any]:
    """What the command says, with these options."""
    found: dict[str, Any] = json.loads(await asyncio.to_thread(said, "recipient", "wishes", ADA, "--json", *options))
    return found


async def stored(client: Client, home: Path) -> dict[str, Any]:
    (row,) = await client.query("recipient", lookup=load_lookup(home / "keys").address(ADA).hex())
    found: dict[str, Any] = row["wishes"]
    return found


@pytest.mark.usefixtures("home")
async def test_wishes_are_changed_one_by_one_and_the_rest_stays() -> None:
    """Whoever changes the quiet hours must not lose the digest, nor whoever registers somebody anew."""
    first = await wishes()
    await wishes("--digest-at", "18:00", "--digest-at", "07:30", "--zone", "Europe/Berlin", "--delay", "1.5")
    await wishes("--quiet", "22:00-07:00", "--urgent", "waits", "--not-urgent", "digest")
    all_of_it = await wishes("--always", "Boss@Bank.example", "--never", "news.example", "--never", "special offer")
    await asyncio.to_thread(said, "recipient", "add", ADA, "--open")
    again = await wishes("--digest", "weekly", "--quiet", "none", "--remove", "news.example")
    hourly = await wishes("--digest", "hourly")

    assert first == {"not_urgent": "delay", "always": [], "never": []}
    assert all_of_it == {
        "not_urgent": "digest", "digest_at": ["18:00", "07:30"], "zone": "Europe/Berlin", "delay": 5400.0,
        "quiet": ["22:00", "07:00"], "urgent": "waits",
        "always": ["boss@bank.example"], "never": ["news.example", "words:special offer"],
    }  # fmt: skip
    kept = {name: value for name, value in all_of_it.items() if name not in ("quiet", "never")}
    assert again == {**kept, "digest_on": "monday", "never": ["words:special offer"]}
    assert {name: hourly.get(name) for name in ("digest_every", "digest_at", "digest_on")} == {
        "digest_every": 3600.0, "digest_at": None, "digest_on": None,
    }  # fmt: skip


async def test_lists_lie_sealed_and_follow_the_key_that_rotates(client: Client, home: Path) -> None:
    """They hold addresses and words of a person's life; and a retired key must not take them along."""
    await wishes("--always", "boss@bank.example", "--never", "divorce")
    before = await stored(client, home)
    await asyncio.to_thread(said, "keys", "rotate", "content")
    keys = {purpose: load_unsealing(home / "keys", purpose) for purpose in PURPOSES}
    report = await Resealing(client, keys, lambda _: None).run()
    after = await stored(client, home)
    newest = keys["content"].sealing_key.id.hex()

    assert not {"boss", "bank", "divorce"} & set(json.dumps(before).replace('"', " ").split())
    assert "divorce" not in json.dumps(before)
    assert (report.unopened, dict(report.left)) == (0, {})
    assert {key for key in await blobs_by_key(client) if key[0] == "content"} == {("content", newest)}
    assert before["lists"][:8] != newest == after["lists"][:8]
    assert Lists.read(keys["content"].unseal(bytes.fromhex(after["lists"]))) == Lists(
        ("boss@bank.example",), ("words:divorce",)
    )
    assert {name: value for name, value in after.items() if name != "lists"} == {"not_urgent": "delay"}
    assert (await wishes())["never"] == ["words:divorce"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--not-urgent", "burn"), "--not-urgent: what is not urgent is for digest, delay, discard or deliver"),
        (("--digest", "yearly"), "--digest takes hourly, daily or weekly"),
        (("--digest-at", "7:30"), "--digest-at: a time of day is written as 07:30"),
        (("--digest-on", "mon"), "--digest-on: a day of the week is written as monday"),
        (("--delay", "0.001"), "--delay: a duration lasts from a minute to 30 days"),
        (("--delay", "1000"), "--delay: a duration lasts from a minute to 30 days"),
        (("--zone", "Mars"), "--zone: there is no such time zone"),
        (("--quiet", "22:00"), "--quiet: quiet hours are written as 22:00-07:00"),
        (("--quiet", "22-7"), "--quiet: a time of day is written as 07:30"),
        (("--urgent", "sleeps"), "--urgent: what is urgent overrides quiet hours, or waits"),
        (("--always", "..."), "an entry is an address, a domain or words"),
        (("--remove", "bank.example"), "--remove names what is on no list"),
        (tuple(part for number in range(51) for part in ("--never", f"n{number}.example")), "at most 50 entries"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused_at_the_door(
    client: Client, home: Path, options: tuple[str, ...], words: str
) -> None:
    """Later nobody is there to hear it; and nothing of the rest is done."""
    refusal = await asyncio.to_thread(complaint, "recipient", "wishes", ADA, "--delay", "2", *options)

    assert words in refusal
    assert await stored(client, home) == {"not_urgent": "delay"}


@pytest.mark.usefixtures("home")
async def test_what_is_wished_reads_as_a_table() -> None:
    """The numbers are those that the history names."""
    nobody = await asyncio.to_thread(complaint, "recipient", "wishes", "bob@home.example")
    await wishes("--never", "news.example", "--never", "words:sale")
    table = await asyncio.to_thread(said, "recipient", "wishes", ADA)

    assert "nobody is registered" in nobody
    assert [line.split() for line in table.splitlines()] == [
        ["wish", "is"], ["not_urgent", "delay"], ["never", "1", "news.example"], ["never", "2", "words:sale"],
    ]  # fmt: skip
