"""Each stage by itself: with all workers of one killed the others go on, and another worker is simply one more."""

import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from serving.queue.client import Client
from tests.conftest import BrokerProcess
from tests.integration.peers import submission

MESSAGES = 300
STAGES = ("authentication", "classification", "triage")
WORKER = """
import asyncio, sys
from pathlib import Path
from serving.pipeline import Authenticated, Discarded, NotUrgent, Prediction, Stage
from serving.queue.client import Client
from serving.stage import serve
async def authentication(work): return Authenticated("api_key")
async def classification(work): return NotUrgent(Prediction("not_urgent", 0.0, 0.01, True, "v"), None)
async def triage(work): return Discarded("torture", 0.0, 0.01, 0.01)
async def main():
    client = await Client.connect(Path(sys.argv[1]))
    await serve(Stage(sys.argv[2]), client, globals()[sys.argv[2]])
asyncio.run(main())
"""

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

    async def all_wait_for_classification() -> bool:
        return (await counts(client)) == {
            "classification": MESSAGES - done["discarded"],
            "discarded": done["discarded"],
        }

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
            return found["authentication"] == found["triage"] == 0

        await eventually(the_rest_has_passed, within=30)
        assert await all_wait_for_classification()
        assert done["discarded"] < MESSAGES
        with working(broker, "classification"), working(broker, "classification"):
            await eventually(all_ended, within=30)


@pytest.mark.slow
async def test_a_worker_that_comes_while_mail_flows_takes_its_share(
    broker: BrokerProcess, client: Client, eventually: Eventually
) -> None:
    """Scaling is starting one more: no setting, no restart, and no hop twice."""
    ids = [(await client.accept(submission(f"key {number}"))).notification_ids[0] for number in range(MESSAGES)]

    async def all_authenticated() -> bool:
        return (await counts(client)) == {"classification": MESSAGES}

    with working(broker, "authentication"), working(broker, "authentication"), working(broker, "authentication"):
        await eventually(all_authenticated, within=30)
    kinds = [[event["kind"] for event in await client.query("events", id=str(id_))] for id_ in ids]

    assert all(each == ["accepted", "authenticated"] for each in kinds)
