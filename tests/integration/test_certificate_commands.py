"""`clarion keys add`, `show`, `remove` against a real broker: what is sealed in the store is changed without a leak."""

import asyncio
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from serving.encryption.certificates import generate_test_key
from serving.queue.client import Client
from serving.sealing import load_lookup
from tests.conftest import BrokerProcess
from tests.integration.terminal import complaint, said, settle
from tests.unit.test_smime_certificates import ADDRESS, KEY, Spec, issue


@pytest.fixture
def home(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose broker is that one."""
    home = settle(broker, monkeypatch)
    (home / "ann.asc").write_text(generate_test_key(ADDRESS, "Ann")[0])
    (home / "ann.der").write_bytes(issue(Spec(KEY)).public_bytes(Encoding.DER))
    (home / "bob.asc").write_text(generate_test_key("bob@home.example", "Bob")[0])
    (home / "none.asc").write_text("no certificate")
    (home / "huge.asc").write_bytes(b"x" * (5 << 20))
    return home


async def test_certificates_come_and_go_and_only_usable_ones_come(home: Path, client: Client) -> None:
    """Of both kinds, text or binary, and each refusal says what is wrong."""
    assert await client.query("depths") == []

    def file(name: str) -> str:
        return str(home / name)

    def work() -> None:
        assert "see `clarion recipient add`" in complaint("keys", "show", ADDRESS)
        assert "registered" in said("recipient", "add", ADDRESS, "--certificate", file("ann.asc"), "--sealing", "smime")
        assert "2 in all" in said("keys", "add", ADDRESS, file("ann.der"))
        assert "2 in all" in said("keys", "add", ADDRESS, file("ann.der"))
        shown = json.loads(said("keys", "show", ADDRESS, "--json"))
        assert [(each["method"], each["state"]) for each in shown] == [("openpgp", "usable"), ("smime", "usable")]
        assert "the recipient's address is not in the certificate" in complaint("keys", "add", ADDRESS, file("bob.asc"))
        assert "neither an OpenPGP nor an X.509" in complaint("keys", "add", ADDRESS, file("none.asc"))
        assert "that is no certificate" in complaint("keys", "add", ADDRESS, file("huge.asc"))
        assert "No such file" in complaint("keys", "add", ADDRESS, file("gone.asc"))
        assert "there is no such certificate" in complaint("keys", "remove", ADDRESS, "00" * 32)
        assert "several begin like that" in complaint("keys", "remove", ADDRESS, "")
        assert "1 left" in said("keys", "remove", ADDRESS, shown[0]["fingerprint"][:16])
        (left,) = json.loads(said("keys", "show", ADDRESS, "--json"))
        assert left["fingerprint"] == shown[1]["fingerprint"]
        assert "0 left" in said("keys", "remove", ADDRESS, left["fingerprint"])
        assert json.loads(said("keys", "show", ADDRESS, "--json")) == []
        assert b"PUBLIC KEY" not in b"".join(path.read_bytes() for path in home.glob("clarion.sqlite3*"))

    await asyncio.to_thread(work)
    (row,) = await client.query("recipient", lookup=load_lookup(home / "keys").address(ADDRESS).hex())
    assert row["certificate"] is None
    assert row["policy"]["sealing"] == "smime"
