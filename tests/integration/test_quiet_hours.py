"""Urgent mail that waits for the end of quiet hours, over the real store: still urgent, and still to be paid for."""

import time
from collections.abc import Callable, Coroutine
from typing import Any

from serving.pipeline import (
    Authenticated,
    Captured,
    Enclosed,
    Held,
    Outcome,
    Postponed,
    Sent,
    Stage,
)
from serving.queue.client import Client
from serving.stage import Work
from serving.values import Hold, Prediction, Receipt, Sealed
from tests.integration.stages import accept, always, is_at, kinds, row, working

Eventually = Callable[..., Coroutine[Any, Any, None]]
PREDICTION = Prediction("urgent", 0.9, None, False, "v")


async def test_what_was_postponed_is_paid_for_and_delivered_as_urgent_when_quiet_hours_end(
    client: Client, eventually: Eventually
) -> None:
    """A night costs time alone: no waiver, no other priority, and no money held while everybody sleeps."""
    until, sealed_at, paid = time.time() + 3.0, list[float](), list[str]()

    async def seal(_: Work) -> Outcome:
        sealed_at.append(time.time())
        return Enclosed(Sealed(b"octets", "openpgp"))

    async def hold(work: Work) -> Outcome:
        paid.append(f"wallet:{work.recipient.hex()}")
        return Held(Hold(5, "EUR", paid[-1]))

    stages = {
        Stage.AUTHENTICATION: always(Authenticated("api_key")),
        Stage.CLASSIFICATION: always(Postponed(PREDICTION, None, until)),
        Stage.ENCRYPTION: seal,
        Stage.PAYMENT: hold,
        Stage.DELIVERY: always(Sent(Receipt(250, "ok", "<7@gate.example>"))),
        Stage.SETTLEMENT: always(Captured(5)),
    }
    id_ = await accept(client)
    await credit(client, bytes.fromhex((await row(client, id_))["recipient"]))
    async with working(client, stages):
        await eventually(lambda: is_at(client, id_, "deferred"))
        waiting = await row(client, id_)
        await eventually(lambda: is_at(client, id_, "delivered"))

    assert (waiting["stage"], waiting["priority"], waiting["facts"].get("waiver")) == ("encryption", 0, None)
    assert waiting["facts"]["quiet"]["until"] == until <= sealed_at[0]
    assert await kinds(client, id_) == [
        "accepted", "authenticated", "postponed", "enclosed", "held", "sent", "captured",
    ]  # fmt: skip


async def credit(client: Client, recipient: bytes) -> None:
    """Money in the wallet, as a top-up brings it."""
    wallet = f"wallet:{recipient.hex()}"
    postings = [{"account": "provider:test", "amount": -100}, {"account": wallet, "amount": 100}]
    await client.execute("open_intent", key="k", verb="charge", notification=None, payload={"currency": "EUR"})
    transfer = {"key": "k", "currency": "EUR", "postings": postings}
    await client.execute("close_intent", key="k", state="done", outcome={}, transfer=transfer)
