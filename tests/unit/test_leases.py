"""The client's side of a consumer: credit goes with what ends, and never for more than it was made for."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from serving.errors import BrokerUnavailable, Refused
from serving.queue.lease import Lease
from serving.queue.leases import Leases
from serving.queue.link import Link
from serving.queue.resource import pack_leases, split
from serving.queue.wire import load_clarion

REASONS = load_clarion()["clarion_manager_v1"].enums["reason"]


class Broker:
    """A link that remembers what was sent over it, and the broker behind it."""

    is_closed = False
    max_body = 1 << 20

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.event: Callable[[str, list[Any]], None]

    def add_consumer(self, name: str, stage: str, visibility: float, event: Callable[[str, list[Any]], None]) -> None:
        del name, stage, visibility
        self.event = event

    def when_ended(self, ended: Callable[[BrokerUnavailable], None]) -> None:
        self.ended = ended

    def request(self, consumer: str, name: str, *values: Any) -> None:
        del consumer
        self.sent.append((name, *values))

    def lease(self, id_: int) -> None:
        self.event("lease", [*split(id_), 1, 0, 1, 0, 1, 1, 0, 0, "sender", bytes(32), b"address", b"{}", 0, b"body"])

    def settle(self, *ids: int) -> None:
        self.event("settled", [pack_leases([(id_, 1) for id_ in ids])])

    def refuse(self, id_: int, reason: str) -> None:
        self.event("refused", [*split(id_), 1, REASONS[reason], "no"])

    @property
    def granted(self) -> list[int]:
        """The credit that was asked for, in order."""
        return [values[0] for name, *values in self.sent if name == "grant"]


@pytest.fixture
def broker() -> Broker:
    return Broker()


def attached(broker: Broker, credit: int) -> Leases:
    leases = Leases("authentication", credit, 60.0, None)
    leases.attach(cast(Link, broker))
    return leases


async def taken(broker: Broker, leases: Leases, *ids: int) -> list[Lease]:
    for id_ in ids:
        broker.lease(id_)
    each = aiter(leases)
    return [await anext(each) for _ in ids]


async def begun(*leases: Lease) -> "list[asyncio.Task[None]]":
    """Completed in one turn of the loop, and sent."""
    tasks = [asyncio.create_task(lease.complete("authenticated")) for lease in leases]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def crowded(broker: Broker, leases: Leases) -> list[Lease]:
    """Three where there is room for two: the hop of the first was refused, and its credit had brought the third."""
    one, two = await taken(broker, leases, 1, 2)
    (refused,) = await begun(one)
    broker.refuse(1, "insufficient_funds")
    with pytest.raises(Refused):
        await refused
    return [one, two, *await taken(broker, leases, 3)]


async def test_credit_goes_with_what_ends(broker: Broker) -> None:
    """Behind it the next leases would come a commit later, and the stage would wait for them."""
    one, two, _ = await taken(broker, attached(broker, 3), 1, 2, 3)
    tasks = await begun(one, two)
    sent = [name for name, *_ in broker.sent[-2:]]
    broker.settle(1, 2)
    await asyncio.gather(*tasks)
    await asyncio.sleep(0)

    assert sent == ["complete", "grant"]
    assert broker.granted == [3, 2]


async def test_what_ends_otherwise_brings_credit_once_it_has_ended(broker: Broker) -> None:
    """Who gives a lease back may be told that it is not theirs any more."""
    (one,) = await taken(broker, attached(broker, 1), 1)
    task = asyncio.create_task(one.retry(1.0, "later"))
    await asyncio.sleep(0)
    before = broker.granted
    broker.settle(1)
    await task
    await asyncio.sleep(0)

    assert before == [1]
    assert broker.granted == [1, 1]


async def test_a_hop_that_is_refused_brings_no_second_lease(broker: Broker) -> None:
    """Else a stage whose every hop is refused at first, as with empty wallets, would take all that waits."""
    one, two, three = await crowded(broker, attached(broker, 2))
    (again,) = await begun(one)
    between = broker.granted
    broker.settle(1)
    await again
    last = await begun(two, three)
    broker.settle(2, 3)
    await asyncio.gather(*last)

    assert between == [2, 1]
    assert broker.granted == [2, 1, 2]


async def test_a_lease_that_was_lost_brings_one_and_not_two(broker: Broker) -> None:
    """Its place is free, and was given away already."""
    (one,) = await taken(broker, attached(broker, 1), 1)
    (task,) = await begun(one)
    broker.refuse(1, "lease_lost")
    with pytest.raises(Refused):
        await task
    await asyncio.sleep(0)

    assert broker.granted == [1, 1]


async def test_after_a_lost_connection_there_is_credit_for_what_is_free(broker: Broker) -> None:
    """The first that ends brings none."""
    leases = attached(broker, 2)
    _, two, three = await crowded(broker, leases)
    after = Broker()
    leases.attach(cast(Link, after))
    first = await begun(two)
    at_first = after.granted
    second = await begun(three)
    after.settle(2, 3)
    await asyncio.gather(*first, *second)

    assert at_first == []
    assert after.granted == [1]


async def test_what_was_not_settled_when_the_connection_ended_brings_credit_again(broker: Broker) -> None:
    """The credit that went with it is over with the connection; kept for given, one place would be lost each time."""
    leases = attached(broker, 2)
    one, _ = await taken(broker, leases, 1, 2)
    (task,) = await begun(one)
    broker.ended(BrokerUnavailable("gone"))
    with pytest.raises(BrokerUnavailable):
        await task
    after = Broker()
    leases.attach(cast(Link, after))
    (again,) = await begun(one)
    after.settle(1)
    await again

    assert after.granted == [1]
