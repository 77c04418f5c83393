"""The broker's promises to workers: a lease belongs to one process, outlives the broker, and comes back at once."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from serving.errors import BrokerUnavailable, Refused
from serving.observation import Reaction
from serving.queue.client import Client
from serving.queue.lease import Hop, Lease
from serving.queue.resource import join, pack_leases
from tests.conftest import BrokerProcess
from tests.integration.peers import Raw, submission

Eventually = Callable[..., Awaitable[None]]

WORKER = """
import asyncio, sys
from pathlib import Path
from serving.queue.client import Client
async def main():
    client = await Client.connect(Path(sys.argv[1]))
    async for lease in client.consume("authentication", credit=8):
        print(lease.id, lease.fence, flush=True)
asyncio.run(main())
"""
THIEF = """
import sys
from pathlib import Path
from serving.queue.resource import pack_leases
from tests.integration.peers import Raw
raw = Raw(Path(sys.argv[1])).bind().make("consumer", 4, "authentication", 60000)
id_, fence = int(sys.argv[2]), int(sys.argv[3])
raw.send(4, "complete", pack_leases([(id_, fence)]), "authenticated", 0, 0)
print(raw.wait("refused")[3])
"""


async def take(client: Client, stage: str = "authentication", **options: Any) -> tuple[Lease, AsyncIterator[Lease]]:
    """The next lease within five seconds, and the iterator that goes on."""
    leases = client.consume(stage, **{"credit": 1, **options})
    return await asyncio.wait_for(anext(leases), 5.0), leases


async def state(client: Client, id_: int) -> str:
    """Where it is."""
    (row,) = await client.query("notification", id=str(id_))
    return f"{row['stage']} {row['state']}"


async def test_leases_return_at_once_when_their_process_is_killed(broker: BrokerProcess, client: Client) -> None:
    """A minute of waiting for an urgent mail because a worker died would break the third word of the product."""
    await client.accept(submission(recipients=5))
    command = [sys.executable, "-c", WORKER, str(broker.socket)]
    worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    taken = [(await worker.stdout.readline()).split() for _ in range(5)]
    worker.kill()
    started = time.monotonic()
    leases = client.consume("authentication", credit=5)
    again = [await asyncio.wait_for(anext(leases), 5.0) for _ in range(5)]
    await worker.wait()

    assert time.monotonic() - started < 2.0
    assert {lease.id for lease in again} == {int(id_) for id_, _ in taken}
    assert all(lease.attempt == 2 for lease in again)


async def test_another_process_cannot_use_a_lease(broker: BrokerProcess, client: Client) -> None:
    """Fences are numbers that can be guessed; the process behind a connection cannot."""
    await client.accept(submission())
    lease, _ = await take(client)
    words = [str(broker.socket), str(lease.id), str(lease.fence)]
    thief = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", THIEF, *words], capture_output=True, timeout=20
    )

    assert int(thief.stdout) == Raw.PROTOCOL["clarion_manager_v1"].enums["reason"]["lease_lost"]
    await lease.complete("authenticated")


async def test_a_lease_outlives_the_broker(broker: BrokerProcess, client: Client, eventually: Eventually) -> None:
    """Work that is half done must not be done again because the broker was restarted."""
    accepted = await client.accept(submission())
    lease, leases = await take(client)
    following = asyncio.ensure_future(anext(leases))
    broker.kill()
    broker.start()
    await eventually(lambda: completed(lease))

    assert await state(client, accepted.notification_ids[0]) == "classification queued"
    (row,) = await client.query("notification", id=str(lease.id))
    assert row["facts"] == {"a": 1}
    following.cancel()


async def completed(lease: Lease) -> bool:
    try:
        await lease.complete("authenticated", Hop({"a": 1}))
    except BrokerUnavailable:
        return False
    return True


async def test_a_lease_that_was_lost_on_the_way_comes_again_at_once(broker: BrokerProcess, client: Client) -> None:
    """The broker had committed it, the connection ended, and the process that owns it lives: nobody would time out."""
    accepted = await client.accept(submission())
    raw = Raw(broker.socket).bind().make("consumer", 4, "authentication", 600_000)
    raw.send(4, "grant", 1)
    raw.wait("lease")
    raw.close()
    lease, _ = await take(client)

    assert lease.id == accepted.notification_ids[0]
    assert lease.fence == 2


async def test_a_lease_is_revoked_when_its_time_is_over(broker: BrokerProcess, client: Client) -> None:
    """Who hangs is told, and cannot act on it any more."""
    await client.accept(submission())
    raw = Raw(broker.socket).bind().make("consumer", 4, "authentication", 300)
    raw.send(4, "grant", 1)
    lease = await asyncio.to_thread(raw.wait, "lease")
    revoked = await asyncio.to_thread(raw.wait, "revoked")
    raw.send(4, "complete", pack_leases([(join(*lease[:2]), lease[2])]), "authenticated", 0, 0)
    refused = await asyncio.to_thread(raw.wait, "refused")
    raw.close()

    assert revoked == lease[:3]
    assert refused[3] == Raw.PROTOCOL["clarion_manager_v1"].enums["reason"]["lease_lost"]


async def test_an_extended_lease_is_kept(client: Client) -> None:
    """A model may take longer than anybody thought."""
    await client.accept(submission())
    lease, _ = await take(client, visibility=0.4)
    await lease.extend(60.0)
    await asyncio.sleep(1.0)

    await lease.complete("authenticated")


async def test_a_retry_waits_as_long_as_it_says(client: Client) -> None:
    """Coming back at once would be a busy loop against a server that asked for patience."""
    await client.accept(submission())
    lease, leases = await take(client)
    started = time.monotonic()
    await lease.retry(0.7, "busy \0\udcff" + "é" * 1000)
    again = await asyncio.wait_for(anext(leases), 5.0)

    assert 0.65 < time.monotonic() - started < 3.0
    assert again.attempt == 2


async def test_who_stops_consuming_gives_back_what_it_did_not_begin_and_finishes_the_rest(client: Client) -> None:
    """Scaling a stage down must not park its mail for two minutes."""
    await client.accept(submission(recipients=5))
    lease, leases = await take(client, credit=5, visibility=600.0)
    await asyncio.sleep(0.3)
    await leases.aclose()  # type: ignore[attr-defined]
    others = client.consume("authentication", credit=4)
    ids = {(await asyncio.wait_for(anext(others), 5.0)).id for _ in range(4)}
    await lease.complete("authenticated")

    assert lease.id not in ids
    assert await state(client, lease.id) == "classification queued"


async def test_normal_mail_moves_while_urgent_mail_floods(broker: BrokerProcess, client: Client) -> None:
    """Urgent first, but nothing waits for ever."""
    await asyncio.gather(*(client.accept(submission(urgent=True)) for _ in range(40)))
    await client.accept(submission())
    raw = Raw(broker.socket).bind().make("consumer", 4, "authentication", 60_000)
    priorities = []
    for _ in range(17):
        raw.send(4, "grant", 1)
        priorities.append((await asyncio.to_thread(raw.wait, "lease"))[7])
    raw.close()

    assert priorities.count(1) == 1
    assert priorities[0] == 0


async def test_a_hop_over_a_limit_is_refused_here_and_the_lease_goes_on(client: Client) -> None:
    """Half of it on the wire would be applied with the next hop."""
    await client.accept(submission())
    lease, _ = await take(client)
    large = (
        Hop({"x": "y" * 5000}),
        Hop(envelope=bytes((26 << 20) + 1)),
        Hop({"a": 1}, reaction=[Reaction(bytes(32), 0.0)] * 99),
    )
    for hop in large:
        with pytest.raises(Refused, match="too_large"):
            await lease.complete("authenticated", hop)
    await lease.complete("authenticated", Hop({"b": 2}))
    (row,) = await client.query("notification", id=str(lease.id))

    assert row["facts"] == {"b": 2}


async def test_large_bodies_are_leased_a_few_at_a_time(client: Client) -> None:
    """As many as are worked on lie in memory; small ones behind them come when there is room."""
    for size in (400_000, 400_000, 400_000, 10, 10):
        await client.accept(submission(body=bytes(size)))
    leases = client.consume("authentication", credit=64, octets=800_000)
    first, second = [await asyncio.wait_for(anext(leases), 5.0) for _ in range(2)]
    third = asyncio.ensure_future(anext(leases))
    await asyncio.sleep(0.6)  # longer than the broker waits before it looks again
    waited = not third.done()
    await first.complete("authenticated", Hop())
    large = await asyncio.wait_for(third, 5.0)
    await second.complete("authenticated", Hop())
    small = [await asyncio.wait_for(anext(leases), 5.0) for _ in range(2)]

    assert waited
    assert [len(lease.body) for lease in (large, *small)] == [400_000, 10, 10]
