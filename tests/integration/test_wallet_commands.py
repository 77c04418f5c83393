"""`clarion wallet` and `clarion ledger`, against a real broker and the sandbox provider in a process of its own."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.queue.client import Client
from serving.sealing import load_lookup
from serving.web.token import Links
from tests.conftest import BrokerProcess
from tests.integration.terminal import complaint, said, settle
from tests.integration.test_sandbox import Provider

ADA = "ada@home.example"


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[str]:
    """The sandbox's address."""
    process = Provider(tmp_path / "sandbox.jsonl")
    yield process.start()
    process.kill()


@pytest.fixture
def home(broker: BrokerProcess, provider: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose broker is that one."""
    monkeypatch.setenv("CLARION_PROVIDER_URL", provider)
    return settle(broker, monkeypatch)


async def test_money_goes_in_and_out_by_hand_and_every_step_is_told(home: Path, client: Client) -> None:
    """In words, as JSON, for a spreadsheet, and as a link for its owner; what cannot be is said in one line."""
    lookup = load_lookup(home / "keys").address(ADA)
    person: dict[str, Any] = {"lookup": lookup.hex(), "address": "00", "certificate": None, "wishes": {}, "policy": {}}
    await client.execute("enroll_recipient", **person)

    def work() -> None:
        assert said("wallet", "top-up", ADA, "5", "--key", "first") == "credited €5.00\n"
        assert said("wallet", "top-up", ADA, "5", "--key", "first") == "credited €5.00\n"
        assert said("wallet", "top-up", ADA, "2", "--key", "second") == "credited €2.00\n"
        charges = json.loads(said("wallet", "charges", ADA, "--json"))
        assert [(each["key"], each["amount"], each["currency"]) for each in charges] == [
            ("second", 200, "EUR"),
            ("first", 500, "EUR"),
        ]
        assert said("wallet", "refund", ADA, "1", "--of", "first", "--key", "back") == "given back €1.00\n"
        assert "there is no such charge" in complaint("wallet", "refund", ADA, "1", "--of", "third")
        assert "no single charge was as large" in complaint("wallet", "refund", ADA, "3", "--of", "second")
        assert "nobody is registered" in complaint("wallet", "top-up", "bob@home.example", "1")
        assert "no such sender" in complaint("wallet", "statement", "p1", "--sender")
        lines = json.loads(said("wallet", "statement", ADA, "--json"))
        assert [(line["what"], line["amount"]) for line in lines] == [
            ("refund", -100),
            ("top-up", 200),
            ("top-up", 500),
        ]
        assert len(json.loads(said("wallet", "statement", ADA, "--json", "--limit", "1"))) == 1
        rows = said("wallet", "statement", ADA, "--csv").splitlines()
        assert (rows[0], len(rows)) == ("at,what,amount,currency,notification", 4)
        link = said("wallet", "statement", ADA, "--link").strip()
        links = Links(load_lookup(home / "keys").derive("pay"))
        assert links.statement.read(link.rpartition("/")[2], 0.0) == f"wallet:{lookup.hex()}"
        (verdict,) = json.loads(said("ledger", "verify", "--json"))
        assert verdict["intact"]

    await asyncio.to_thread(work)
    refunds = await client.query("intent", key="back")
    assert refunds[0]["payload"]["reference"] == (await client.query("intent", key="first"))[0]["outcome"]["reference"]
