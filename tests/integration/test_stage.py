"""The stage loop over a real broker: what fails is retried, what fails for good ends, and nobody else notices."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from serving import pipeline as p
from serving import stage as loop
from serving import values as v
from serving.errors import Refused, Temporary
from serving.pipeline import Outcome, Stage
from serving.queue.client import Client
from serving.stage import Handler, Work, serve
from tests.conftest import BrokerProcess
from tests.integration.stages import accept, always, is_at, kinds, row, working

Eventually = Callable[..., Awaitable[None]]
SEALED = v.Sealed(b"envelope", "openpgp")
URGENT = p.Urgent(v.Prediction("urgent", 0.9, None, False, "v"), None)


async def short(_: Work) -> p.Unfunded:
    return p.Unfunded(5, "EUR", 4e9, 4e9)


PAID: Mapping[Stage, Handler] = {
    Stage.AUTHENTICATION: always(p.Authenticated("api_key")),
    Stage.CLASSIFICATION: always(URGENT),
    Stage.ENCRYPTION: always(p.Enclosed(SEALED)),
    Stage.PAYMENT: always(p.Held(v.Hold(5, "EUR", f"wallet:{bytes(32).hex()}"))),
    Stage.DELIVERY: always(p.Sent(v.Receipt(250, "2.0.0 ok", "<1@x>"))),
    Stage.SETTLEMENT: always(p.Captured(5)),
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(loop, "backoff", lambda _: 0.01)


async def top_up(client: Client, amount: int) -> None:
    wallet = f"wallet:{bytes(32).hex()}"
    postings = [{"account": wallet, "amount": amount}, {"account": "clearing:x", "amount": -amount}]
    transfer = {"key": f"top-up {amount}", "postings": postings, "currency": "EUR"}
    await client.execute("open_intent", key=f"k{amount}", verb="top_up", notification=None, payload={})
    await client.execute("close_intent", key=f"k{amount}", state="done", outcome={}, transfer=transfer)


async def test_mail_that_nobody_can_pay_for_is_parked_and_goes_on_once_paid(
    client: Client, eventually: Eventually
) -> None:
    """The whole way of the money: refused hold, parked, topped up, woken, held, sent, captured."""
    id_ = await accept(client)
    async with working(client, PAID, short):
        await eventually(lambda: is_at(client, id_, "parked"))
        waiting = await row(client, id_)
        await top_up(client, 8)
        await eventually(lambda: is_at(client, id_, "delivered"))
    (wallet,) = await client.query("balance", account=f"wallet:{bytes(32).hex()}")
    (revenue,) = await client.query("balance", account="revenue")

    assert waiting["stage"] == "payment"
    assert waiting["facts"]["unfunded"]["amount"] == 5
    assert (wallet["balance"], revenue["balance"]) == (3, 5)
    assert (await kinds(client, id_))[-5:] == ["unfunded", "woken", "held", "sent", "captured"]
    assert (await client.query("verify_ledger"))[0]["intact"]


async def test_mail_without_a_key_is_parked_until_the_recipient_has_one(client: Client, eventually: Eventually) -> None:
    """Never open by accident, never lost."""
    enrolled = asyncio.Event()

    async def encrypt(_: Work) -> Outcome:
        return p.EnclosedFree(SEALED, "policy") if enrolled.is_set() else p.KeyMissing("no certificate")

    id_ = await accept(client)
    async with working(client, {**PAID, Stage.ENCRYPTION: encrypt, Stage.SETTLEMENT: always(p.Unbilled("policy"))}):
        await eventually(lambda: is_at(client, id_, "parked"))
        enrolled.set()
        person = {"lookup": bytes(32).hex(), "address": "00", "certificate": "00", "wishes": {}, "policy": {}}
        answer = await client.execute("enroll_recipient", **person)
        await eventually(lambda: is_at(client, id_, "delivered"))

    assert answer["woken"] == 1


@pytest.mark.usefixtures("quick")
async def test_what_is_not_told_leaves_no_line_in_the_history(client: Client, eventually: Eventually) -> None:
    """A mail whose turn does not come for days, because a server hangs, must not fill the store."""
    turns = 0

    async def handle(_: Work) -> Outcome:
        nonlocal turns
        turns += 1
        if turns < 9:
            raise Temporary("not its turn", retry_after=0.0, is_told=turns == 1)
        return p.Forged("other domain")

    id_ = await accept(client)
    async with working(client, {Stage.AUTHENTICATION: handle}):
        await eventually(lambda: is_at(client, id_, "rejected"))

    assert await kinds(client, id_) == ["accepted", "retried", "forged"]


@pytest.mark.usefixtures("quick")
async def test_one_mail_that_always_fails_dies_and_the_others_go_on(client: Client, eventually: Eventually) -> None:
    """A poisoned mail must neither block its stage nor be tried for ever."""
    bad = await accept(client)
    good = [await accept(client) for _ in range(20)]

    async def handle(work: Work) -> Outcome:
        if work.id == bad:
            raise ZeroDivisionError("the text of a mail")
        return p.Forged("other domain")

    async with working(client, {Stage.AUTHENTICATION: handle}) as (task,):
        for id_ in good:
            await eventually(lambda id_=id_: is_at(client, id_, "rejected"))
        await eventually(lambda: is_at(client, bad, "dead"))
        alive = not task.done()
    causes = [event["detail"].get("cause", "") for event in await client.query("events", id=str(bad))]

    assert alive
    assert (await kinds(client, bad)).count("retried") == loop.MAX_FAILURES - 1
    assert not [cause for cause in causes if "text of a mail" in cause]
    assert "ZeroDivisionError" in causes[-1]


@pytest.mark.usefixtures("quick")
async def test_waiting_for_somebody_else_is_no_failure(client: Client, eventually: Eventually) -> None:
    """A mail server that was down for an hour must not make the first slip afterwards the last."""
    tries: Counter[int] = Counter()

    async def handle(work: Work) -> Outcome:
        tries[work.id] += 1
        if tries[work.id] <= 2 * loop.MAX_FAILURES:
            raise Temporary("away", retry_after=0.0)
        if tries[work.id] <= 2 * loop.MAX_FAILURES + 3:
            raise ZeroDivisionError
        return p.Forged("other domain")

    id_ = await accept(client)
    async with working(client, {Stage.AUTHENTICATION: handle}):
        await eventually(lambda: is_at(client, id_, "rejected"))

    assert tries[id_] == 2 * loop.MAX_FAILURES + 4


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "outcome",
    [p.Authenticated("m" * 3000), p.Authenticated("m" * 9000), p.Sent(v.Receipt(250, "ok", "<1@x>")), "no outcome"],
)
async def test_an_outcome_that_the_broker_will_never_take_ends_the_mail_not_the_stage(
    client: Client, eventually: Eventually, outcome: Any
) -> None:
    """Refused for ever, it would otherwise be tried for ever."""
    bad = await accept(client)
    good: list[int] = []

    async def handle(work: Work) -> Outcome:
        answer: Outcome = outcome if work.id == bad else p.Forged("other domain")
        return answer

    async with working(client, {Stage.AUTHENTICATION: handle}) as (task,):
        await eventually(lambda: is_at(client, bad, "dead"))
        good.append(await accept(client))
        await eventually(lambda: is_at(client, good[0], "rejected"))
        assert not task.done()


async def test_work_that_a_broker_restart_interrupts_is_finished_once(
    broker: BrokerProcess, client: Client, eventually: Eventually
) -> None:
    """The lease holds on; doing it again would be a second mail or a second charge."""
    runs: Counter[int] = Counter()
    going, may_end = asyncio.Event(), asyncio.Event()

    async def handle(work: Work) -> Outcome:
        runs[work.id] += 1
        going.set()
        await may_end.wait()
        return p.Forged("other domain")

    ids = [await accept(client) for _ in range(3)]
    async with working(client, {Stage.AUTHENTICATION: handle}) as (task,):
        await going.wait()
        broker.kill()
        may_end.set()
        await asyncio.sleep(0.5)
        broker.start()
        for id_ in ids:
            await eventually(lambda id_=id_: is_at(client, id_, "rejected"))
        assert not task.done()

    assert runs == Counter(ids)


async def test_a_note_is_durable_before_it_returns(
    broker: BrokerProcess, client: Client, eventually: Eventually
) -> None:
    """Delivery writes "sending" before it sends: after a crash it must know that it may have."""

    async def handle(work: Work) -> Outcome:
        if "sending" not in work.facts:
            await work.note("sending", {"sending": work.attempt})
            broker.kill()
            broker.start()
            raise Temporary("crashed", retry_after=0.0)
        return p.Forged("other domain")

    id_ = await accept(client)
    async with working(client, {Stage.AUTHENTICATION: handle}):
        await eventually(lambda: is_at(client, id_, "rejected"))

    assert "sending" in await kinds(client, id_)
    assert (await row(client, id_))["facts"]["sending"] == 1


async def test_the_loop_ends_with_its_client_and_leaves_no_task(broker: BrokerProcess) -> None:
    """A process that shuts down must not hang on work that it cannot complete any more."""
    client = await Client.connect(broker.socket)
    begun = asyncio.Event()

    async def handle(_: Work) -> Outcome:
        begun.set()
        await asyncio.sleep(60)
        return p.Forged("never")

    await accept(client)
    before = asyncio.all_tasks()
    task = asyncio.create_task(serve(Stage.AUTHENTICATION, client, handle))
    await asyncio.wait_for(begun.wait(), 5.0)
    await client.close()
    await asyncio.wait_for(task, 5.0)
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before


async def test_a_stage_that_is_closed_to_this_process_says_so(client: Client) -> None:
    """Waiting quietly for ever would look like an empty queue."""
    leases = client.consume("delivrey", credit=1)

    with pytest.raises(Refused, match="unknown_stage"):
        await asyncio.wait_for(anext(leases), 5.0)
