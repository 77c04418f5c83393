"""Senders are told: the loop between a real broker and a real receiver, with all that goes wrong."""

import asyncio
from collections import defaultdict
from contextlib import suppress

import pytest
from standardwebhooks.webhooks import Webhook

from serving.queue.client import Client
from serving.webhooks.schedule import Schedule
from serving.webhooks.sending import Pace
from serving.webhooks.signing import secret
from tests.conftest import BrokerProcess
from tests.integration.webhook_receiver import HANGING_UP, OK, SILENCE, Receiver, Told, receiving, status
from tests.integration.webhook_senders import KEY, QUICK, Eventually, ended, enrol, sending, states, told_all


async def test_an_end_is_told_once_and_signed(client: Client, eventually: Eventually) -> None:
    """The receiver's own library is the judge; ids are those that the sender was given."""
    async with receiving() as receiver, sending(client):
        await enrol(client, "sender", receiver.url)
        ids = await ended(client, 20)
        await eventually(lambda: len(receiver.told) >= 20)
        await eventually(lambda: told_all(client))

    events = [Webhook(secret(KEY, "sender", 1)).verify(told.body, told.fields) for told in receiver.told]
    assert sorted(event["data"]["id"] for event in events) == sorted(ids)
    assert {event["type"] for event in events} == {"notification.dead"}
    assert {(event["data"]["state"], event["data"]["reason"]) for event in events} == {("dead", "killed")}
    assert set(receiver.ids().values()) == {1}
    assert receiver.connections <= QUICK.each


@pytest.mark.parametrize("failure", [HANGING_UP, SILENCE, status("500 No"), status("302 Found", "Location: /x\r\n")])
async def test_what_fails_is_sent_again_under_the_same_id(client: Client, eventually: Eventually, failure: str) -> None:
    """A receiver that restarts misses nothing, and knows what it has already."""
    seen: defaultdict[str, int] = defaultdict(int)

    def answer(told: Told) -> str:
        seen[told.id] += 1
        return OK if seen[told.id] == 3 else failure

    async with receiving(Receiver(answer)) as receiver, sending(client):
        await enrol(client, "sender", receiver.url)
        await ended(client, 4)
        await eventually(lambda: len(receiver.told) >= 12)
        await eventually(lambda: told_all(client))

    assert set(receiver.ids().values()) == {3}
    assert len({told.body for told in receiver.told}) == 4


async def test_a_receiver_that_never_answers_is_given_up_after_the_last_attempt(
    client: Client, eventually: Eventually
) -> None:
    """And what it was to hear is kept, to be sent when somebody says so."""
    async with receiving(Receiver(lambda _: status("503 No"))) as receiver:
        async with sending(client, schedule=Schedule(waits=(0.01, 0.01))):
            await enrol(client, "sender", receiver.url)
            await ended(client, 2)
            await eventually(lambda: told_all(client))
        given_up, tries = await states(client), receiver.ids()
        receiver.answer = lambda _: OK
        await client.execute("replay_webhooks", principal="sender")
        async with sending(client):
            await eventually(lambda: told_all(client))

    assert given_up == {"waiting": 0, "told": 0, "given_up": 2}
    assert set(tries.values()) == {3}
    assert (await states(client))["told"] == 2
    assert set(receiver.ids().values()) == {4}


async def test_a_dead_receiver_delays_nobody_else_and_is_not_run_over(client: Client, eventually: Eventually) -> None:
    """Its own sender's backlog waits; the others' events go as if it were not there."""
    pace = Pace(total=16, each=8, tick=0.05, patience=4, pause=30.0, longest_pause=30.0, farewell=1.0)
    async with receiving(Receiver(lambda _: SILENCE)) as dead, receiving() as alive, sending(client, pace):
        await enrol(client, "dead", dead.url)
        await enrol(client, "alive", alive.url)
        await ended(client, 200, "dead")
        await eventually(lambda: len(dead.told) >= 8)
        await ended(client, 50, "alive")
        await eventually(lambda: told_all(client, "alive"))

    assert set(alive.ids().values()) == {1}
    assert len(alive.told) == 50
    assert len(dead.told) <= 16
    assert dead.most <= 8


async def test_410_turns_it_off(client: Client, eventually: Eventually) -> None:
    """The receiver's owner has taken it away."""
    async with receiving(Receiver(lambda _: status("410 Gone"))) as receiver, sending(client):
        await enrol(client, "sender", receiver.url)
        await ended(client, 1)
        await eventually(lambda: told_all(client))
        await ended(client, 3)
        await eventually(lambda: told_all(client))

    (row,) = await client.query("webhook", principal="sender")
    assert len(receiver.told) == 1
    assert row["gone_at"] is not None
    assert row["given_up"] == 4


async def test_a_receiver_gets_the_time_that_it_asks_for(client: Client, eventually: Eventually) -> None:
    """429 is about all of its events, not about one."""
    pace = Pace(tick=0.02, each=1, farewell=1.0)
    slow = Receiver(lambda _: status("429 Slow", "Retry-After: 3600\r\n"))
    async with receiving(slow) as receiver, sending(client, pace):
        await enrol(client, "sender", receiver.url)
        await ended(client, 5)
        await eventually(lambda: waiting_after_one_attempt(client))
        await asyncio.sleep(0.2)  # some ten looks at the store

    assert len(receiver.told) == 1


async def waiting_after_one_attempt(client: Client) -> bool:
    rows = await client.query("webhook_events", principal="sender", state="waiting")
    return any(row["reply"] for row in rows)


async def test_the_broker_may_go_away_meanwhile(broker: BrokerProcess, client: Client, eventually: Eventually) -> None:
    """What was told is closed once it is back, or told again under the same id."""
    async with receiving() as receiver, sending(client):
        await enrol(client, "sender", receiver.url)
        ids = await ended(client, 40)
        broker.kill()
        broker.start()
        await eventually(lambda: back_and_told(client))

    assert {told.event["data"]["id"] for told in receiver.told} == set(ids)


async def back_and_told(client: Client) -> bool:
    with suppress(Exception):
        return await told_all(client)
    return False
