"""What works without a key: broker, triage, payment and settlement, where no key file is anywhere."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from serving.pipeline import Authenticated, Enclosed, NotUrgent, Outcome, Sent, Stage, Urgent
from serving.queue.client import Client, Recipient, Submission
from serving.settings import Settings
from serving.stage import Work
from serving.values import Prediction, Receipt, Sealed
from serving.wiring import Parts, wire
from tests.conftest import BrokerProcess
from tests.integration.stages import always, is_at, kinds, working

BLIND = (Stage.TRIAGE, Stage.PAYMENT, Stage.SETTLEMENT)
BODY, ADDRESS = b"\x01\x02\x03\x04 sealed body", b"\x01\x02\x03\x04 sealed address"
Eventually = Callable[..., Coroutine[Any, Any, None]]


async def test_whoever_sees_no_plaintext_works_where_no_key_is(
    broker: BrokerProcess, client: Client, eventually: Eventually
) -> None:
    """Payment and its like get no key by accident either: there is none that they could need."""
    home = broker.socket.parent
    settings, seen = Settings(home=home), []

    async def classify(work: Work) -> Outcome:
        seen.append((work.body, work.address))
        if work.ordinal:
            return NotUrgent(Prediction("not_urgent", 0.1, None, False, "v"), None)
        return Urgent(Prediction("urgent", 0.9, None, False, "v"), None)

    others = {
        Stage.AUTHENTICATION: always(Authenticated("api_key")),
        Stage.CLASSIFICATION: classify,
        Stage.ENCRYPTION: always(Enclosed(Sealed(BODY, "openpgp"))),
        Stage.DELIVERY: always(Sent(Receipt(250, "ok", "id"))),
    }
    people = [bytes([number]) * 32 for number in (1, 2)]
    for lookup in people:
        await client.execute(
            "enroll_recipient",
            **{"lookup": lookup.hex(), "address": ADDRESS.hex(), "certificate": None, "wishes": {}},
            policy={"pays": False},
        )
    async with AsyncExitStack() as resources:
        parts = Parts(settings, client, resources)
        async with working(client, {**others, **{stage: wire(stage, parts).handle for stage in BLIND}}):
            two = tuple(Recipient(lookup, ADDRESS) for lookup in people)
            ids = (await client.accept(Submission("sender", BODY, two))).notification_ids
            await eventually(lambda: is_at(client, ids[0], "delivered"))
            await eventually(lambda: is_at(client, ids[1], "deferred"))
    paid = await kinds(client, ids[0])

    assert not settings.keys.exists()
    assert seen == [(BODY, ADDRESS)] * 2
    assert {"waived", "unbilled"} <= set(paid)
    assert (await kinds(client, ids[1]))[-1] == "digested"
