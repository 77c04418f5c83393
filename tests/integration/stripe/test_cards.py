"""A saved card held for one notification: from the payment stage to settlement, over the real broker and real HTTP."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from serving import pipeline as p
from serving import values as v
from serving.payment.faults import Fault, Faults
from serving.payment.policy import Defaults
from serving.payment.provider import Done, payer_of
from serving.payment.release import Release
from serving.payment.stage import Payment
from serving.payment.statement import line_of, movements
from serving.payment.stripe_client import StripeClient
from serving.payment.topup import resume
from serving.pipeline import Outcome, Stage
from serving.queue.client import Client
from serving.settlement import Settlement
from serving.stage import Handler
from tests.integration.stages import accept, always, is_at, row, working
from tests.integration.stripe.payer import DECLINED, GOOD, save_card
from tests.integration.stripe.proxy import Proxy

Eventually = Callable[..., Awaitable[None]]

RECIPIENT = bytes(32)
WALLET = f"wallet:{RECIPIENT.hex()}"
PAYER = payer_of(WALLET)
INTENTS = "/v1/payment_intents"
SENT = p.Sent(v.Receipt(250, "2.0.0 ok", "<1@x>"))
REFUSED = p.Undeliverable("550 5.1.1 unknown")
PREDICTION = v.Prediction("urgent", 0.9, None, False, "test")

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # Stripe's library, of httpx


class FirstTime(Faults):
    """Stripe commits and never answers, the first time that anything is asked of it."""

    def __init__(self) -> None:
        super().__init__({}, 0)
        self.drawn: set[str] = set()

    def draw(self, key: str) -> Fault | None:
        is_new = key not in self.drawn
        self.drawn.add(key)
        return Fault.TIMEOUT if is_new else None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.stage.backoff", lambda _: 0.05)


async def enrol(client: Client, proxy: Proxy, card: str | None) -> None:
    """A recipient who wants the card held; saved as a top-up on the page does, or not at all."""
    person = {"lookup": RECIPIENT.hex(), "address": "00", "certificate": None, "wishes": {}, "policy": {"card": True}}
    await client.execute("enroll_recipient", **person)
    if card is not None:
        await save_card(proxy.localstripe, PAYER, card)


def stages(client: Client, stripe: StripeClient, delivery: Outcome) -> tuple[Mapping[Stage, Handler], Payment]:
    payment = Payment(client, Defaults(120, "EUR", 600.0), provider=stripe)
    release = Release(client, stripe)
    return {
        Stage.AUTHENTICATION: always(p.Authenticated("api_key")),
        Stage.CLASSIFICATION: always(p.Urgent(PREDICTION, None)),
        Stage.ENCRYPTION: always(p.Enclosed(v.Sealed(b"octets", "openpgp"))),
        Stage.PAYMENT: payment.handle,
        Stage.NOTICE: always(p.Asked(1, 4e9)),
        Stage.DELIVERY: always(delivery),
        Stage.SETTLEMENT: Settlement(release, release.void).handle,
    }, payment


async def held(proxy: Proxy, client: Client, id_: int) -> str:
    """What has become of the card's hold at Stripe."""
    reference = (await row(client, id_))["facts"]["hold"]["reference"]
    status: str = (await proxy.localstripe.get(f"{INTENTS}/{reference}"))["status"]
    return status


async def balance(client: Client, account: str) -> int:
    rows = await client.query("balance", account=account)
    return int(rows[0]["balance"]) if rows else 0


@pytest.mark.parametrize(
    ("delivery", "state", "at_stripe", "revenue"),
    [(SENT, "delivered", "succeeded", 120), (REFUSED, "dead", "canceled", 0)],
)
@pytest.mark.parametrize("faulty", [False, True])
async def test_a_held_card_is_captured_for_what_arrived_and_freed_for_what_did_not(
    client: Client,
    stripe: StripeClient,
    proxy: Proxy,
    eventually: Eventually,
    delivery: Outcome,
    state: str,
    at_stripe: str,
    revenue: int,
    faulty: bool,
) -> None:
    """Also where every first answer is lost after Stripe has committed: one hold, one end of it, and equal books."""
    await enrol(client, proxy, GOOD)
    if faulty:
        proxy.faulty, proxy.faults = INTENTS, FirstTime()
    handlers, payment = stages(client, stripe, delivery)
    async with working(client, handlers, payment.unfunded):
        id_ = await accept(client)
        await eventually(lambda: is_at(client, id_, state), within=30.0)
    lost, proxy.faults = proxy.faults, Faults({}, 1)

    assert not isinstance(lost, FirstTime) or len(lost.drawn) > 3
    assert await held(proxy, client, id_) == at_stripe
    assert (await balance(client, "revenue"), await balance(client, f"hold:{id_}")) == (revenue, 0)
    assert await balance(client, f"card:stripe:{RECIPIENT.hex()}") == -revenue
    told = [(line.what, line.amount) for line in map(line_of, await movements(client, WALLET))]
    assert told[-1] == ("set aside for delivery", -120)
    assert sum(amount for _, amount in told) == -revenue
    assert await client.query("intents", state="open") == []
    assert (await client.query("verify_ledger"))[0]["intact"]


@pytest.mark.parametrize("card", [None, DECLINED])
async def test_where_no_card_can_be_held_the_payer_is_asked(
    client: Client, stripe: StripeClient, proxy: Proxy, eventually: Eventually, card: str | None
) -> None:
    """No card saved, or one that is refused: the mail waits for money as any other's does."""
    await enrol(client, proxy, card)
    handlers, payment = stages(client, stripe, SENT)
    async with working(client, handlers, payment.unfunded):
        id_ = await accept(client)
        await eventually(lambda: is_at(client, id_, "parked"))

    assert (await row(client, id_))["facts"]["due"]["amount"] == 120
    assert await balance(client, f"hold:{id_}") == 0


async def test_a_card_that_was_held_for_what_an_operator_gave_up_is_freed(
    client: Client, stripe: StripeClient, proxy: Proxy, eventually: Eventually
) -> None:
    """Nobody settles it any more: the intent to free the card is written with the end itself."""
    await enrol(client, proxy, GOOD)
    handlers, payment = stages(client, stripe, SENT)
    before: dict[Stage, Handler] = {**handlers}
    del before[Stage.DELIVERY]
    async with working(client, before, payment.unfunded):
        id_ = await accept(client)
        await eventually(lambda: _waits_for_delivery(client, id_))
    await client.execute("kill", id=str(id_), cause="not wanted any more")

    (answer,) = await resume(client, stripe)

    assert isinstance(answer, Done)
    assert await held(proxy, client, id_) == "canceled"
    assert (await balance(client, f"card:stripe:{RECIPIENT.hex()}"), await balance(client, f"hold:{id_}")) == (0, 0)


async def _waits_for_delivery(client: Client, id_: int) -> bool:
    return bool((await row(client, id_))["stage"] == "delivery")
