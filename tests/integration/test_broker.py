"""The broker's promises to whoever sends and asks: durable, idempotent, and clear about what it does not take."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest

from serving.errors import BrokerUnavailable, Refused
from serving.identifiers import format_id
from serving.queue.blocking import BlockingClient
from serving.queue.client import Client
from tests.conftest import BrokerProcess
from tests.integration.peers import submission

Eventually = Callable[..., Awaitable[None]]


async def state(client: Client, id_: int) -> str:
    """Where it is."""
    (row,) = await client.query("notification", id=str(id_))
    return f"{row['stage']} {row['state']}"


async def test_what_was_accepted_is_there_after_kill_9(
    broker: BrokerProcess, client: Client, eventually: Eventually
) -> None:
    """The first promise: the sender was told yes, and nothing may take that back."""
    accepted = await asyncio.gather(*(client.accept(submission(str(i), recipients=3)) for i in range(40)))
    broker.kill()
    broker.start()
    await eventually(lambda: can_ask(client))
    states = {await state(client, id_) for each in accepted for id_ in each.notification_ids}

    assert states == {"authentication queued"}
    assert len({id_ for each in accepted for id_ in each.notification_ids}) == 120


async def can_ask(client: Client) -> bool:
    try:
        await client.query("depths")
    except BrokerUnavailable:
        return False
    return True


async def test_a_repetition_answers_with_the_first_ids_also_after_a_restart(
    broker: BrokerProcess, client: Client, eventually: Eventually
) -> None:
    """The sender repeats exactly when an answer was lost, which is when the broker died."""
    first = await client.accept(submission("key", recipients=2))
    broker.kill()
    broker.start()
    await eventually(lambda: can_ask(client))
    again = await client.accept(submission("key", recipients=2))

    assert again.duplicate
    assert (again.message_id, again.notification_ids) == (first.message_id, first.notification_ids)
    with pytest.raises(Refused, match="key_conflict"):
        await client.accept(submission("key", digest=b"other"))


async def test_a_key_of_each_recipient_makes_a_notification_once(broker: BrokerProcess, client: Client) -> None:
    """Of the list that comes again with one name more, only that one is new; the next message has no such key."""
    first = await client.accept(submission("k", recipients=2, key_each=True))
    more = await client.accept(submission("k", recipients=3, key_each=True))
    with BlockingClient(broker.socket) as blocking:
        again = blocking.accept(submission("k", recipients=1, key_each=True))
    other = await client.accept(submission("k", recipients=2))

    assert more.notification_ids[:2] == first.notification_ids
    assert (again.notification_ids, again.duplicate) == (first.notification_ids[:1], True)
    assert not {*other.notification_ids} & {*more.notification_ids}


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        ("too_large", {"facts": {"x": "y" * 5000}}),
        ("too_large", {"body": bytes((26 << 20) + 1)}),
        ("malformed", {"principal": ""}),
        ("malformed", {"principal": "p" * 4000}),
        ("malformed", {"key": ""}),
        ("malformed", {"key": "k" * 300}),
        ("malformed", {"digest": bytes(5000)}),
        ("malformed", {"recipients": 0}),
    ],
)
async def test_what_cannot_be_stored_is_refused_and_leaves_nothing_behind(
    client: Client, reason: str, values: dict[str, Any]
) -> None:
    """Recipients of a submission that failed half-way would get the next one's mail."""
    with pytest.raises(Refused, match=reason):
        await client.accept(submission(**{"recipients": 7, **values}))
    after = await asyncio.gather(*(client.accept(submission()) for _ in range(300)))

    assert {len(each.notification_ids) for each in after} == {1}


async def test_a_body_of_any_size_comes_out_as_it_went_in(client: Client) -> None:
    """Inline, at the border, and as a memfd."""
    bodies = [b"", b"x" * 3800, b"y" * 3841, b"z" * (25 << 20)]
    for body in bodies:
        await client.accept(submission(body=body))
    leases = client.consume("authentication", credit=4)
    got = [(await asyncio.wait_for(anext(leases), 10.0)).body for _ in bodies]

    assert sorted(got) == sorted(bodies)


@pytest.mark.parametrize(
    ("reason", "name", "parameters"),
    [
        ("unknown_statement", "drop_tables", {}),
        ("malformed", "principal", {}),
        ("malformed", "principal", {"id": {"a": 1}}),
        ("malformed", "notification", {"id": "no number"}),
        ("malformed", "notification", {"id": str(2**70)}),
        ("malformed", "counters", {"keys": ["zz"]}),
        ("malformed", "counters", {"keys": 5}),
        (
            "malformed",
            "enroll_recipient",
            {"lookup": "zz", "address": "", "certificate": None, "wishes": {}, "policy": {}},
        ),
        ("malformed", "close_intent", {"key": "k", "state": "done", "outcome": {}, "transfer": "no"}),
        ("not_found", "retry", {"id": "1"}),
        ("too_large", "counters", {"keys": ["00" * 32] * 1_000_000}),
    ],
)
async def test_a_bad_question_is_refused_and_harms_nobody(
    client: Client, reason: str, name: str, parameters: dict[str, Any]
) -> None:
    """Questions share a transaction with other clients' mail."""
    if name == "close_intent":
        await client.execute("open_intent", key="k", verb="v", notification=None, payload={})
    bad, *good = await asyncio.gather(
        client.query(name, **parameters), *(client.accept(submission()) for _ in range(5)), return_exceptions=True
    )

    assert isinstance(bad, Refused)
    assert bad.reason == reason
    assert not [each for each in good if isinstance(each, BaseException)]


async def test_the_ledger_is_verified_through_the_broker(client: Client) -> None:
    """The operator has no other way to the file."""
    postings = [{"account": "wallet:a", "amount": 7}, {"account": "clearing:x", "amount": -7}]
    await client.execute("open_intent", key="k", verb="v", notification=None, payload={})
    transfer = {"key": "t", "postings": postings, "currency": "EUR"}
    await client.execute("close_intent", key="k", state="done", outcome={}, transfer=transfer)
    (verdict,) = await client.query("verify_ledger")

    assert verdict["intact"] is True
    assert verdict["transfers"] == 1
    assert len(verdict["head"]) == 64


async def test_a_client_says_that_there_is_no_broker(broker: BrokerProcess, client: Client) -> None:
    """Waiting callers must learn it, not hang; and the next call must find the broker that came back."""
    waiting = asyncio.ensure_future(client.query("depths"))
    broker.kill()
    with pytest.raises(BrokerUnavailable):
        await waiting
    with pytest.raises(BrokerUnavailable, match="make serve"):
        await client.accept(submission())
    broker.start()
    other = await Client.connect(broker.socket)
    accepted = await client.accept(submission())
    await other.close()

    assert len(format_id(accepted.message_id)) == 13


async def test_what_a_stage_asks_waits_for_no_commit(broker: BrokerProcess, client: Client) -> None:
    """A disk that takes its time must not keep stages from working on what they have."""
    with closing(sqlite3.connect(broker.store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        accepting = asyncio.create_task(client.accept(submission()))
        await asyncio.sleep(0.2)
        asked = client.query("offset", recipient=bytes(32).hex()), client.query("recipient", lookup=bytes(32).hex())
        offset, recipient = await asyncio.wait_for(asyncio.gather(*asked), 1.0)
        has_accepted = accepting.done()
        other.execute("ROLLBACK")
    await accepting

    assert (offset, recipient) == ([{"log_odds": 0.0}], [])
    assert not has_accepted
