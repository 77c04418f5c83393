"""The program that tells senders: killed, doubled, without its broker; a receiver hears of everything, in order."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from random import Random

import pytest

from serving.queue.client import Client
from tests.conftest import BrokerProcess
from tests.integration.terminal import settle
from tests.integration.webhook_receiver import HANGING_UP, OK, Receiver, Told, receiving, status
from tests.integration.webhook_senders import Eventually, ended, enrol, states, told_all

PROGRAM = """
import asyncio, sys
from pathlib import Path
from random import SystemRandom
from serving.queue.client import Client
from serving.sealing import LookupKey
from serving.stopping import cancel_on_signals
from serving.webhooks.places import Places
from serving.webhooks.post import Post
from serving.webhooks.schedule import Schedule
from serving.webhooks.sending import Pace, Sending

async def main():
    cancel_on_signals()
    client, places = Client(Path(sys.argv[1])), Places()
    pace = Pace(tick=0.05, lease=1.5, pause=0.05, longest_pause=0.2)
    await Sending(client, LookupKey(bytes(range(32))), lambda: Post(places, timeout=1.0), SystemRandom(),
                  pace, Schedule(waits=(0.05,) * 50)).run()

asyncio.run(main())
"""


@dataclass
class Programs:
    """Processes that send, killed and started again."""

    broker: BrokerProcess
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self) -> None:
        self.running.append(subprocess.Popen([sys.executable, "-c", PROGRAM, str(self.broker.socket)]))

    def kill(self) -> None:
        """kill -9 of the oldest."""
        process = self.running.pop(0)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        while self.running:
            self.kill()


@pytest.fixture
def programs(broker: BrokerProcess) -> Iterator[Programs]:
    made = Programs(broker)
    yield made
    made.end()


async def test_what_was_told_and_not_yet_closed_is_told_again_under_the_same_id(
    client: Client, programs: Programs, eventually: Eventually
) -> None:
    """The program dies between the receiver's answer and the note of it: the receiver knows the id."""

    def answer(_: Told) -> str:
        if len(receiver.told) == 1:
            programs.kill()  # the answer goes to nobody
        return OK

    async with receiving(Receiver(answer)) as receiver:
        await enrol(client, "sender", receiver.url)
        await ended(client, 1)
        programs.start()
        await eventually(lambda: len(receiver.told) == 1)
        programs.start()
        await eventually(lambda: told_all(client))

    assert list(receiver.ids().values()) == [2]
    assert receiver.told[0].body == receiver.told[1].body


async def test_two_programs_share_the_work_and_nothing_is_sent_twice(
    client: Client, programs: Programs, eventually: Eventually
) -> None:
    """Two machines, one store."""
    async with receiving() as receiver:
        await enrol(client, "sender", receiver.url)
        for _ in range(2):
            programs.start()
        await ended(client, 200)
        await eventually(lambda: told_all(client))

    assert len(receiver.told) == 200
    assert set(receiver.ids().values()) == {1}


def bounced(broker: BrokerProcess) -> None:
    """A second event of each notification that has one, as a report that comes later makes it."""
    with closing(sqlite3.connect(broker.store, timeout=30.0)) as connection, connection:
        connection.execute(
            "INSERT INTO webhook (id, notification, principal, event, reason, at, state, available_at)"
            " SELECT id + (1 << 40), notification, principal, 'bounced', '', at, 'waiting', at FROM webhook AS first"
            " WHERE NOT EXISTS (SELECT 1 FROM webhook WHERE notification = first.notification AND event = 'bounced')"
        )


@pytest.mark.slow
async def test_nothing_is_missing_and_nothing_overtakes_while_the_program_is_killed(
    broker: BrokerProcess, client: Client, programs: Programs, eventually: Eventually
) -> None:
    """Twenty kills while five hundred events go out, two a notification, to a receiver that fails now and then."""
    dice = Random(20261129)  # noqa: S311 - replayable, not secret
    heard: set[tuple[str, str]] = set()
    overtaking: list[str] = []

    def answer(told: Told) -> str:
        data = told.event["data"]
        if data["state"] == "bounced" and (data["id"], "dead") not in heard:
            overtaking.append(data["id"])
        answered = dice.choices([OK, status("500 No"), HANGING_UP], [8, 1, 1])[0]
        if answered == OK:
            heard.add((data["id"], data["state"]))
        return answered

    async with receiving(Receiver(answer)) as receiver:
        await enrol(client, "sender", receiver.url)
        programs.start()
        ids: list[str] = []
        for _ in range(20):
            ids += await ended(client, 25 // 2)
            bounced(broker)
            await asyncio.sleep(dice.uniform(0.1, 0.9))
            programs.start()
            programs.kill()
        ids += await ended(client, 10)
        bounced(broker)
        await eventually(lambda: told_all(client), within=90)

    assert heard == {(id_, state) for id_ in ids for state in ("dead", "bounced")}
    assert overtaking == []
    assert (await states(client))["told"] == len(receiver.ids()) == 500


def program() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "serving.webhooks"], env=dict(os.environ))


async def test_the_program_starts_waits_for_its_broker_and_ends_in_order(
    broker: BrokerProcess, client: Client, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """As `make serve` runs it, with the keys of its home."""
    settle(broker, monkeypatch)
    broker.stop()
    process = program()
    try:
        async with receiving() as receiver:
            await asyncio.sleep(0.5)  # it finds nobody
            broker.start()
            await eventually(lambda: back(client))
            await enrol(client, "sender", receiver.url)
            await ended(client, 3)
            await eventually(lambda: len(receiver.told) == 3, within=30)
            await eventually(lambda: told_all(client))
            process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(process.wait, 20)
    finally:
        process.kill()
        process.wait()

    assert code == 0


async def back(client: Client) -> bool:
    with suppress(Exception):
        return bool(await client.query("depths") is not None)
    return False
