"""Who is told of what came back, and what becomes of it where nobody can be: nothing waits for ever."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any

import pytest
from nacl.public import PrivateKey

from serving.bounces import returning
from serving.bounces.returning import Bounces
from serving.bounces.telling import Teller
from serving.errors import BrokerUnavailable, Refused
from serving.return_addresses import Returned
from serving.sealing import LookupKey, UnsealingKey
from tests.unit.bounces import shapes

CONTENT, LOOKUP = UnsealingKey(bytes(PrivateKey.generate())), LookupKey(b"l" * 32)
GATE, TO = "clarion@gate.example", "bob@receiver.example"
MAIL = b"From: ops@bank.example\r\nSubject: secret-canary\r\nMessage-ID: <1@bank.example>\r\n\r\ntext\r\n"
KNOWN = {"authentication": {"outcome": "authenticated"}, "envelope": {"form": "sealed"}}


@dataclass
class Store:
    """One notification that came back, and what it was asked to do."""

    facts: dict[str, Any] = field(default_factory=lambda: dict(KNOWN))
    body: bytes = CONTENT.sealing_key.seal(MAIL)
    action: str = "failed"
    refuse: Exception | None = None
    done: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def query(self, name: str, /, **_: Any) -> list[dict[str, Any]]:
        if name == "body":
            return [{"body": self.body.hex()}]
        assert name == "bounces_waiting"
        address = CONTENT.sealing_key.seal(TO.encode()).hex()
        row = {"id": "7", "message": "8", "address": address, "facts": self.facts, "accepted_at": 1.0, "at": 2.0}
        return [{**row, "action": self.action, "reply": "5.1.1 unknown"}]

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        if self.refuse is not None and name in ("report", "bounce"):
            raise self.refuse
        self.done.append((name, parameters))
        return {"fresh": True}


async def told(store: Store) -> list[str]:
    await Teller(store, CONTENT, LOOKUP, GATE).tell()
    return [name for name, _ in store.done]


async def test_the_sender_is_told_and_nothing_of_sealed_mail_is_in_it() -> None:
    """It may travel open."""
    store = Store()

    assert await told(store) == ["report"]
    ((_, written),) = store.done
    letter = CONTENT.unseal(bytes.fromhex(written["body"]))
    assert written["recipient"] == LOOKUP.address("ops@bank.example").hex()
    assert CONTENT.unseal(bytes.fromhex(written["address"])) == b"ops@bank.example"
    assert message_from_bytes(letter)["To"] == "ops@bank.example"
    assert b"Status: 5.1.1" in letter
    assert b"canary" not in letter


@pytest.mark.parametrize(
    "store",
    [
        Store(facts={}),
        Store(facts={**KNOWN, "notice": "asked"}),
        Store(body=b""),
        Store(action="delivered"),
        Store(body=CONTENT.sealing_key.seal(b"\0")),
        Store(refuse=Refused("malformed", "")),
    ],
)
async def test_where_nobody_is_to_be_told_it_waits_no_longer(store: Store) -> None:
    """Not proven, ours, not kept any more, not asked for, no mail, or a report that the store will never take."""
    assert await told(store) == ["close_bounce"]


@pytest.mark.parametrize("refuse", [Refused("storage", ""), BrokerUnavailable("away")])
async def test_what_passes_is_waited_for(refuse: Exception) -> None:
    """The next look finds the same row."""
    store = Store(refuse=refuse)

    with pytest.raises(type(refuse)):
        await told(store)
    assert store.done == []


async def test_a_key_that_is_not_there_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """It may come back; the log says that something waits, and for what."""
    store = Store(body=UnsealingKey(b"\x33" * 32).sealing_key.seal(MAIL))
    with caplog.at_level(logging.ERROR):
        assert await told(store) == []

    assert "notification 7: no report that it came back" in caplog.text
    assert "bank.example" not in caplog.text


@pytest.mark.parametrize(("status", "seconds"), [(b"5.1.1", 60.0), (b"5.2.2", None), (b"4.4.7", None)])
async def test_what_comes_back_is_written_down_with_lookups_alone(status: bytes, seconds: float | None) -> None:
    """The intake opens nothing, and the store learns no address."""
    store = Store()
    mail = shapes.POSTFIX.replace(b"Status: 5.1.1", b"Status: " + status)
    await Bounces(store, LOOKUP, 60.0).handle(Returned("bounce", 7), mail)
    ((name, written),) = store.done

    assert name == "bounce"
    assert (written["id"], written["action"], written["suppress_for"]) == ("7", "failed", seconds)
    assert written["named"] == [LOOKUP.address(TO).hex()]
    assert "bob" not in written["reply"]


async def test_one_report_is_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile one takes a second of the processor, and mail comes in beside it."""
    reading, most = 0, 0

    def read(_: bytes) -> None:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        time.sleep(0.02)  # as a parser does: in a thread
        reading -= 1

    monkeypatch.setattr(returning, "read_bounce", read)
    bounces = Bounces(Store(), LOOKUP, 60.0)
    await asyncio.gather(*(bounces.handle(Returned("bounce", 7), b"") for _ in range(8)))

    assert most == 1


async def test_a_report_comes_again_only_where_the_store_failed() -> None:
    """For a notification that there is not, it would come for ever."""
    await Bounces(Store(refuse=Refused("not_found", "")), LOOKUP, 60.0).handle(Returned("bounce", 7), shapes.POSTFIX)

    with pytest.raises(Refused):
        await Bounces(Store(refuse=Refused("storage", "")), LOOKUP, 60.0).handle(Returned("bounce", 7), shapes.POSTFIX)
