"""Handing out leases: one that cannot be sent must not take the others, the credit or the stage with it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serving.errors import Refused
from serving.queue.dispatch import Dispatcher
from serving.queue.store.hops import Claimed


@dataclass(eq=False)
class Worker:
    """A consumer that cannot encode what it gets, as long as it is `broken`."""

    credit: int = 4
    stage: str = "encryption"
    owner: str = "1:1:here"
    visibility: float = 60.0
    is_congested: bool = False
    broken: bool = True
    room: int = 1 << 20
    got: list[Claimed] = field(default_factory=list)

    def deliver(self, claimed: list[Claimed]) -> None:
        if self.broken:
            raise ValueError("a message would take 4248 octets")
        self.got += claimed


@dataclass
class Committer:
    """Keeps what is to be done and to be told."""

    waiting: list[tuple[Callable[..., Any], Callable[[Any], None]]] = field(default_factory=list)

    def submit(self, verb: Callable[..., Any], done: Callable[[Any], None]) -> None:
        self.waiting.append((verb, done))


def test_leases_that_cannot_be_sent_go_back_with_the_credit() -> None:
    """One address of 4,000 octets once stopped a stage for everybody."""
    committer, worker = Committer(), Worker()
    dispatcher = Dispatcher(committer, lambda _: True)  # type: ignore[arg-type]
    dispatcher.add(worker)
    dispatcher.wake("encryption")
    _, claimed = committer.waiting.pop()
    claimed([Claimed({"id": 7, "fence": 1}, "bank", b"")])

    assert worker.credit == 4
    assert len(committer.waiting) == 1  # they are released


def test_what_can_be_sent_is_handed_over_and_uses_credit() -> None:
    """The same way, in health."""
    committer, worker = Committer(), Worker(broken=False)
    dispatcher = Dispatcher(committer, lambda _: True)  # type: ignore[arg-type]
    dispatcher.add(worker)
    dispatcher.wake("encryption")
    _, claimed = committer.waiting.pop()
    claimed([Claimed({"id": 7, "fence": 1}, "bank", b"")])

    assert (worker.credit, len(worker.got), committer.waiting) == (3, 1, [])


def test_credit_asks_nothing_of_a_stage_that_was_found_empty_until_it_may_have_work_again() -> None:
    """Each mail brings credit at each stage: as many questions of the store, and no answer in them."""
    committer, worker = Committer(), Worker(broken=False)
    dispatcher = Dispatcher(committer, lambda _: True)  # type: ignore[arg-type]
    dispatcher.add(worker)
    dispatcher.credited("encryption")
    committer.waiting.pop()[1]([])
    dispatcher.credited("encryption")
    asked_when_empty = len(committer.waiting)
    dispatcher.wake("encryption")

    assert (asked_when_empty, len(committer.waiting)) == (0, 1)


def test_work_that_comes_while_a_claim_finds_nothing_is_claimed_for() -> None:
    """The claim may have looked before the work was there; nobody else would say so."""
    committer, worker = Committer(), Worker(broken=False)
    dispatcher = Dispatcher(committer, lambda _: True)  # type: ignore[arg-type]
    dispatcher.add(worker)
    dispatcher.wake("encryption")
    dispatcher.wake("encryption")
    committer.waiting.pop()[1]([])

    assert len(committer.waiting) == 1


def test_a_store_that_fails_is_not_taken_for_an_empty_one() -> None:
    """What waits there would wait for the next tick, again and again."""
    committer, worker = Committer(), Worker(broken=False)
    dispatcher = Dispatcher(committer, lambda _: True)  # type: ignore[arg-type]
    dispatcher.add(worker)
    dispatcher.credited("encryption")
    committer.waiting.pop()[1](Refused("storage", "the disk is full"))
    dispatcher.credited("encryption")

    assert len(committer.waiting) == 1


def test_who_is_full_gets_nothing_until_there_is_room_again() -> None:
    """Large mails are held in memory: a few of them are as much as many small ones, whatever the credit."""
    committer, worker = Committer(), Worker(broken=False, room=0)
    dispatcher = Dispatcher(committer, lambda _: True)  # type: ignore[arg-type]
    dispatcher.add(worker)
    dispatcher.credited("encryption")
    asked_when_full = len(committer.waiting)
    worker.room = 1
    dispatcher.credited("encryption")
    worker.room = 0
    committer.waiting.pop()[1]([Claimed({"id": 7, "fence": 1}, "bank", b"large")])
    worker.room = 1
    dispatcher.credited("encryption")

    assert asked_when_full == 0
    assert len(committer.waiting) == 1  # what a full one left is not taken for an empty stage
