"""Each stage by itself: with all workers of one killed the others go on, and another worker is simply one more."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from serving.queue.client import Client
from tests.conftest import BrokerProcess
from tests.integration.peers import submission
from tests.torture.test_kill import WORKER

MESSAGES = 300
CREDIT = 8  # what a worker takes at once unless told otherwise

Eventually = Callable[..., Awaitable[None]]


@contextmanager
def working(broker: BrokerProcess, stage: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that works for one stage, killed without a word at the end."""
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(broker.socket), stage])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def authenticated(client: Client, number: int) -> bool:
    """Whether so many have passed the first stage."""
    return (await counts(client))["classification"] == number


async def counts(client: Client) -> Counter[str]:
    """How many are where: by stage, or by how they ended."""
    found: Counter[str] = Counter()
    for row in await client.query("depths"):
        found[row["stage"] or row["state"]] += row["count"]
    return found


@pytest.mark.slow
async def test_the_others_go_on_without_a_stage_and_nothing_is_lost(
    broker: BrokerProcess, client: Client, eventually: Eventually
) -> None:
    """The seventh promise. Mail waits exactly where nobody works, and goes on when somebody does."""

    async def all_ended() -> bool:
        return (await counts(client)) == {"discarded": MESSAGES}

    done: Counter[str] = Counter()
    with working(broker, "authentication"), working(broker, "triage"):
        with working(broker, "classification") as only:
            for number in range(MESSAGES // 3):
                await client.accept(submission(f"key {number}"))
            only.kill()
        for number in range(MESSAGES // 3, MESSAGES):
            await client.accept(submission(f"key {number}"))

        async def the_rest_has_passed() -> bool:
            found = await counts(client)
            done["discarded"] = found["discarded"]
            left = Counter(classification=MESSAGES - found["discarded"], discarded=found["discarded"])
            return found == left

        await eventually(the_rest_has_passed, within=30)
        assert done["discarded"] < MESSAGES
        with working(broker, "classification"), working(broker, "classification"):
            await eventually(all_ended, within=30)


@pytest.mark.slow
async def test_a_worker_that_comes_while_mail_waits_takes_what_the_first_does_not_hold(
    broker: BrokerProcess, client: Client, eventually: Eventually
) -> None:
    """Scaling is starting one more: no setting, no restart, no hop twice; and one that hangs holds only its own."""
    held = 0

    async def the_second_has_drained() -> bool:
        nonlocal held
        found = await counts(client)
        held = found["authentication"]
        return held <= CREDIT

    async def all_authenticated() -> bool:
        return (await counts(client)) == {"classification": MESSAGES}

    with working(broker, "authentication") as first:
        warm = (await client.accept(submission("warm"))).notification_ids
        await eventually(lambda: authenticated(client, 1), within=30)
        first.send_signal(signal.SIGSTOP)
        ids = [(await client.accept(submission(f"key {number}"))).notification_ids[0] for number in range(1, MESSAGES)]
        with working(broker, "authentication"):
            await eventually(the_second_has_drained, within=30)
            waited = held
            first.send_signal(signal.SIGCONT)
            await eventually(all_authenticated, within=30)
    kinds = [[event["kind"] for event in await client.query("events", id=str(id_))] for id_ in [*warm, *ids]]

    assert waited > 0
    assert all(each == ["accepted", "authenticated"] for each in kinds)
