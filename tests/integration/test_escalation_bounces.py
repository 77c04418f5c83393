"""Urgent mail that its receiver took and that came back later: its watch goes on at once, on the real store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.queue.store import reports
from tests.integration.escalating import GRACE, LOOKUP, MINUTE, World
from tests.integration.peers import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def comes_back(store: Store, id_: int, action: str = "failed") -> None:
    """As the intake writes it down; the suppression that may come with it is not looked at here."""
    store.sql("UPDATE notification SET facts = json_set(facts, '$.receipt', json('{}')) WHERE id = :id", id=id_)
    store.do(lambda t: reports.bounce(t, str(id_), action, "5.2.2 full", [], None))


def test_a_mail_that_comes_back_goes_to_the_next_person_at_once(store: Store) -> None:
    """Nobody can acknowledge what is in no mailbox: the ten minutes would be lost."""
    world = World(store)
    id_, watch = world.delivered()
    world.run(1)
    comes_back(store, id_)
    woken = store.row(watch)["state"]
    world.run(1)

    assert woken == "queued"
    assert [each[1] for each in world.children()] == [LOOKUP.address(GRACE)]
    assert store.row(id_)["state"] == "delivered"


def test_a_copy_that_comes_back_hurries_the_next_step(store: Store) -> None:
    """Grace's mailbox is full: the push is not kept waiting for her."""
    world = World(store)
    world.delivered()
    world.run(10 * MINUTE)
    comes_back(store, world.child(1, 1))
    world.run(1)

    assert len(world.children()) == len(world.pushes) == 1


@pytest.mark.parametrize("action", ["delayed", "delivered"])
def test_what_is_late_or_there_hurries_nobody(store: Store, action: str) -> None:
    """The next server still tries, or says that it succeeded."""
    world = World(store)
    id_, watch = world.delivered()
    world.run(1)
    comes_back(store, id_, action)
    world.run(9 * MINUTE)

    assert world.children() == []
    assert store.row(watch)["state"] == "parked"


def test_a_mail_that_comes_back_after_somebody_has_it_alarms_nobody(store: Store) -> None:
    """The watch is over: grace has it, wherever ada's copy went."""
    world = World(store)
    id_, watch = world.delivered()
    world.run(10 * MINUTE)
    world.react(world.child(1, 1))
    world.run(1)
    comes_back(store, id_)
    world.run(60 * MINUTE)

    assert (len(world.children()), world.pushes) == (1, [])
    assert store.row(watch)["state"] == "delivered"
