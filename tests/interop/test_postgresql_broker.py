"""Brokers on PostgreSQL: what one on SQLite promises, and that two of them share one store."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from serving.errors import BrokerUnavailable, Refused
from serving.queue.client import Client
from serving.queue.lease import Lease
from tests.conftest import BrokerProcess
from tests.integration.peers import submission
from tests.integration.test_broker import (
    test_a_bad_question_is_refused_and_harms_nobody,
    test_a_body_of_any_size_comes_out_as_it_went_in,
    test_a_repetition_answers_with_the_first_ids_also_after_a_restart,
    test_the_ledger_is_verified_through_the_broker,
    test_what_cannot_be_stored_is_refused_and_leaves_nothing_behind,
    test_what_was_accepted_is_there_after_kill_9,
)
from tests.integration.test_leases import (
    test_a_lease_is_revoked_when_its_time_is_over,
    test_a_lease_outlives_the_broker,
    test_a_lease_that_was_lost_on_the_way_comes_again_at_once,
    test_another_process_cannot_use_a_lease,
    test_leases_return_at_once_when_their_process_is_killed,
    test_normal_mail_moves_while_urgent_mail_floods,
)
from tests.integration.test_resealing import (
    settings,
    test_two_runs_at_once_and_a_broker_that_restarts_tear_nothing,
)
from tests.interop.postgres import Server
from tests.torture.test_kill import WORKER, test_nothing_is_lost_and_nothing_ends_twice

__all__ = [
    "settings",
    "test_a_bad_question_is_refused_and_harms_nobody",
    "test_a_body_of_any_size_comes_out_as_it_went_in",
    "test_a_lease_is_revoked_when_its_time_is_over",
    "test_a_lease_outlives_the_broker",
    "test_a_lease_that_was_lost_on_the_way_comes_again_at_once",
    "test_a_repetition_answers_with_the_first_ids_also_after_a_restart",
    "test_another_process_cannot_use_a_lease",
    "test_leases_return_at_once_when_their_process_is_killed",
    "test_normal_mail_moves_while_urgent_mail_floods",
    "test_nothing_is_lost_and_nothing_ends_twice",
    "test_the_ledger_is_verified_through_the_broker",
    "test_two_runs_at_once_and_a_broker_that_restarts_tear_nothing",
    "test_what_cannot_be_stored_is_refused_and_leaves_nothing_behind",
    "test_what_was_accepted_is_there_after_kill_9",
]  # fmt: skip

MESSAGES = 300
PATH = ["authentication", "classification", "triage", "discarded"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def brokers(server: Server) -> Iterator[list[BrokerProcess]]:
    """Two, on one database, each with a socket of its own as on two machines."""
    url = server.database()
    with TemporaryDirectory(prefix="clarion-") as folder:
        made = [BrokerProcess(Path(folder), url, name) for name in ("one", "two")]
        for broker in made:
            broker.start()
        yield made
        for broker in made:
            broker.stop()


@pytest.fixture
def broker(server: Server) -> Iterator[BrokerProcess]:
    """One, where the suites expect one."""
    with TemporaryDirectory(prefix="clarion-") as folder:
        made = BrokerProcess(Path(folder), server.database())
        made.start()
        yield made
        made.stop()


@pytest.fixture
async def clients(brokers: list[BrokerProcess]) -> AsyncIterator[list[Client]]:
    connected = [await Client.connect(broker.socket) for broker in brokers]
    yield connected
    for client in connected:
        await client.close()


async def test_what_one_broker_accepts_the_other_hands_out_at_once(clients: list[Client]) -> None:
    """A notification must not wait for the poll of a broker that has workers to spare."""
    leases = clients[1].consume("authentication", credit=1)

    async def first() -> Lease:
        return await anext(leases)

    waiting = asyncio.create_task(first())
    await asyncio.sleep(0.5)
    accepted = await clients[0].accept(submission(body=b"x" * 9_000))
    lease = await asyncio.wait_for(waiting, 5.0)

    assert (lease.id, lease.body) == (accepted.notification_ids[0], b"x" * 9_000)
    await lease.complete("authenticated")


async def test_a_key_is_one_message_whichever_broker_is_asked(clients: list[Client]) -> None:
    """A sender that lost the answer may ask the other machine, even at the same moment."""
    answers = await asyncio.gather(*(clients[at % 2].accept(submission(f"key {at // 2}")) for at in range(200)))

    assert len({each.message_id for each in answers}) == 100
    assert Counter(each.duplicate for each in answers) == {True: 100, False: 100}


async def test_a_lease_of_one_broker_is_not_another_brokers(clients: list[Client]) -> None:
    """The same process asks both: a lease holds, whichever broker gave it, and is handed out once."""
    await clients[0].accept(submission(recipients=40))
    seen: list[int] = []
    everything = asyncio.Event()

    async def take(client: Client) -> None:
        async for lease in client.consume("authentication", credit=5):
            seen.append(lease.id)
            await lease.complete("authenticated")
            if len(seen) >= 40:
                everything.set()

    taking = [asyncio.create_task(take(client)) for client in clients]
    await asyncio.wait_for(everything.wait(), 20)
    await asyncio.sleep(0.5)
    for task in taking:
        task.cancel()

    assert len(set(seen)) == len(seen) == 40


@pytest.mark.slow
async def test_two_brokers_share_the_work_and_no_hop_happens_twice(
    brokers: list[BrokerProcess], clients: list[Client], eventually: Callable[..., Awaitable[None]]
) -> None:
    """With kill -9 of brokers and workers on both machines while three hundred mails pass three stages."""
    dice = random.Random(20261125)  # noqa: S311 - replayable, not secret
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(broker.socket)]) for broker in brokers]  # noqa: ASYNC220

    async def kill() -> Counter[str]:
        killed: Counter[str] = Counter()
        with suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(dice.uniform(0.7, 1.6))
                at, what = dice.randrange(2), dice.choice(["broker", "worker"])
                killed[what] += 1
                if what == "broker":
                    brokers[at].kill()
                    brokers[at].start()
                else:
                    workers[at].kill()
                    workers[at].wait()
                    command = [sys.executable, "-c", WORKER, str(brokers[at].socket)]
                    workers[at] = subprocess.Popen(command)  # noqa: ASYNC220
        return killed

    async def publish(number: int) -> int:
        while True:
            try:
                return (await clients[number % 2].accept(submission(f"key {number}"))).notification_ids[0]
            except (BrokerUnavailable, Refused):
                await asyncio.sleep(0.1)

    async def all_discarded() -> bool:
        with suppress(BrokerUnavailable):
            counts = {row["state"]: row["count"] for row in await clients[0].query("depths")}
            return counts.get("discarded") == MESSAGES
        return False

    killing = asyncio.create_task(kill())
    ids: list[int] = []
    for start in range(0, MESSAGES, 20):
        ids += await asyncio.gather(*(publish(number) for number in range(start, start + 20)))
        await asyncio.sleep(0.3)
    killing.cancel()
    killed = await killing
    await eventually(all_discarded, within=60)
    for worker in workers:
        worker.kill()
        worker.wait()
    ends = [[event["next"] for event in await clients[1].query("events", id=str(id_))] for id_ in ids]

    assert len(set(ids)) == MESSAGES
    assert all([step for step in end if step] == PATH for end in ends)
    assert min(killed["broker"], killed["worker"]) >= 1


async def test_a_server_that_went_away_is_a_refusal_and_then_nothing(
    server: Server, broker: BrokerProcess, client: Client, eventually: Callable[..., Awaitable[None]]
) -> None:
    """The broker outlives its database; what was accepted before is there."""
    before = await client.accept(submission("before"))
    server.restart()

    async def accepts() -> bool:
        with suppress(Refused):
            await client.accept(submission("after"))
            return True
        return False

    await eventually(accepts, within=20)
    again = await client.accept(submission("before"))

    assert broker.process is not None
    assert broker.process.poll() is None
    assert again.notification_ids == before.notification_ids
