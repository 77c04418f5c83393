"""`clarion suppression` against a real broker: by address, though none is kept."""

import json
from pathlib import Path

import pytest

from serving.sealing import load_lookup
from tests.conftest import BrokerProcess
from tests.integration.terminal import complaint, said, settle

BOB = "bob@receiver.example"


@pytest.fixture
def keys(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The keys of a home whose broker is that one."""
    return settle(broker, monkeypatch) / "keys"


def test_an_address_is_added_shown_and_removed(keys: Path) -> None:
    """Whoever runs the service decides at last; the list holds lookups, and is asked by address."""
    assert said("suppression", "add", BOB, "--days", "30", "--reason", "moved away") == "suppressed\n"
    (listed,) = json.loads(said("suppression", "list", "--json"))
    found = json.loads(said("suppression", "list", "Bob@Receiver.Example", "--json"))
    assert said("suppression", "remove", BOB) == "removed\n"

    assert listed["lookup"] == load_lookup(keys).address(BOB).hex()
    assert listed["reason"] == "moved away"
    assert listed["until"] - listed["at"] == pytest.approx(30 * 86_400.0)
    assert found == [listed]
    assert json.loads(said("suppression", "list", "--json")) == []
    assert said("suppression", "remove", BOB) == "it was not suppressed\n"


def test_without_days_it_holds_until_it_is_removed(keys: Path) -> None:
    """And a second word about it counts."""
    del keys
    said("suppression", "add", BOB)
    said("suppression", "add", BOB, "--reason", "asked for it")
    (row,) = json.loads(said("suppression", "list", "--json"))

    assert (row["until"], row["reason"]) == (None, "asked for it")


@pytest.mark.parametrize(
    ("words", "why"),
    [(["list", "bob"], "no address"), (["add", "bob@"], "no address"), (["add", BOB, "--reason", "ü"], "--reason")],
)
def test_what_cannot_be_is_said(keys: Path, words: list[str], why: str) -> None:
    """In one line."""
    del keys

    assert why in complaint("suppression", *words)
