"""Releases and refunds in two commits: whatever dies, and wherever, money moves once and both books agree."""

import pytest

from serving.errors import Refused, Temporary
from serving.payment.provider import Absent, Answer, Declined, Done, NeedsPayer, Order, TryLater, Unknown, Verb
from serving.payment.refund import refund
from serving.payment.release import Release
from serving.payment.topup import resume, resume_one, top_up
from serving.values import Hold
from tests.unit.payment.exchanges import (
    LOOKUP,
    WALLET,
    Killed,
    Ledger,
    Power,
    Provider,
    always,
    pay_in,
    timed_out_after_committing,
)


@pytest.mark.parametrize("moment", range(1, 7))
async def test_a_release_killed_at_any_moment_is_released_once(
    ledger: Ledger, provider: Provider, power: Power, moment: int
) -> None:
    """Settlement runs again after a crash; the recipient's money must not leave twice."""
    release = Release(ledger, provider)
    power.left = moment
    with pytest.raises(Killed):
        await release(7, LOOKUP, Hold(5, "EUR", WALLET))

    await release(7, LOOKUP, Hold(5, "EUR", WALLET))
    await release(7, LOOKUP, Hold(5, "EUR", WALLET))

    assert list(provider.committed.values()) == [Order("7:capture", Verb.RELEASE, LOOKUP.hex()[:16], 5, "EUR")]
    assert ledger.intents["7:capture"]["state"] == "done"


@pytest.mark.parametrize(
    "answer", [Unknown("no answer"), TryLater("busy", 1.0), NeedsPayer("/confirm"), Declined("insufficient")]
)
async def test_a_release_that_is_not_done_is_tried_again_and_can_still_be_done(
    ledger: Ledger, provider: Provider, answer: Answer
) -> None:
    """The mail is delivered: whatever the provider says today, the money is owed and nothing is forgotten."""
    provider.answers = [always(answer)]
    release = Release(ledger, provider)
    with pytest.raises(Temporary):
        await release(7, LOOKUP, Hold(5, "EUR", WALLET))

    await release(7, LOOKUP, Hold(5, "EUR", WALLET))

    assert list(provider.committed) == ["7:capture"]
    assert ledger.intents["7:capture"]["state"] == "done"


async def test_what_is_owed_is_released_when_it_is_repaid_and_not_before(ledger: Ledger, provider: Provider) -> None:
    """The provider keeps nothing of a payer who has not paid: to ask for it would fail for ever."""
    await Release(ledger, provider)(7, LOOKUP, Hold(5, "EUR", f"debt:{WALLET}"))
    assert provider.committed == {}

    repaid = {"payer": LOOKUP.hex()[:16], "amount": 5, "currency": "EUR"}
    await ledger.execute("open_intent", key="k:repaid", verb="release", notification=None, payload=repaid, reserve=None)
    await resume(ledger, provider)

    assert list(provider.committed.values()) == [Order("k:repaid", Verb.RELEASE, LOOKUP.hex()[:16], 5, "EUR")]


async def give_back(ledger: Ledger, provider: Provider) -> Answer:
    return await refund(ledger, provider, wallet=WALLET, amount=50, currency="EUR", key="refund:1", reference="pi_1")


@pytest.mark.parametrize("moment", range(1, 7))
async def test_a_refund_killed_at_any_moment_is_refunded_once(
    ledger: Ledger, provider: Provider, power: Power, moment: int
) -> None:
    """Money that went back twice is gone."""
    power.left = moment
    with pytest.raises(Killed):
        await give_back(ledger, provider)

    await resume(ledger, provider)
    await give_back(ledger, provider)

    assert list(provider.committed) == ["refund:1"]
    assert +ledger.accounts == {"clearing:sandbox": 50}
    assert ledger.accounts[WALLET] == -50


async def test_a_refund_on_its_way_cannot_be_spent_and_a_refused_one_returns(
    ledger: Ledger, provider: Provider
) -> None:
    """Between the two commits the money belongs to neither side."""
    provider.answers = [always(Unknown("no answer")), always(Declined("charge_disputed"))]
    await give_back(ledger, provider)
    assert (ledger.accounts[WALLET], ledger.accounts["hold:refund:1"]) == (-50, 50)

    answer = await give_back(ledger, provider)

    assert answer == Declined("charge_disputed")
    assert (ledger.accounts[WALLET], ledger.accounts["hold:refund:1"]) == (0, 0)


async def test_a_page_that_the_payer_left_is_asked_for_by_its_name(ledger: Ledger, provider: Provider) -> None:
    """Stripe's sessions are found by Stripe's own id; a second one would be a second payment."""
    asked: list[str] = []

    class Hosted(Provider):
        async def find(self, order: Order) -> Answer | Absent:
            asked.append(order.reference)
            return Done("pi_1")

    hosted = Hosted(provider.power, [always(NeedsPayer("https://pay.example/s", "cs_1"))])
    await pay_in(ledger, hosted)

    assert await resume(ledger, hosted) == [Done("pi_1")]
    assert asked == ["cs_1"]


async def test_what_nobody_ends_hides_nothing_that_came_later(ledger: Ledger, provider: Provider) -> None:
    """Pages that payers left stay open for a day; a charge behind a thousand of them is asked about all the same."""
    for number in range(5):
        provider.answers = [always(NeedsPayer("https://pay.example/s", "cs"))]
        await top_up(ledger, provider, wallet=WALLET, amount=100, currency="EUR", key=f"page:{number}")
    provider.answers = [timed_out_after_committing]
    await pay_in(ledger, provider)

    provider.answers = [always(NeedsPayer("https://pay.example/s", "cs"))] * 5
    answers = await resume(ledger, provider)

    assert (len(answers), ledger.accounts[WALLET]) == (6, 500)


async def test_what_a_sender_paid_another_way_is_ours_already(ledger: Ledger, provider: Provider) -> None:
    """Money that came by x402 was never kept by this provider: to insist would never end."""
    provider.answers = [always(Declined("insufficient"))]
    await Release(ledger, provider)(7, LOOKUP, Hold(5, "EUR", "wallet:sender:bank"))

    assert ledger.intents["7:capture"]["state"] == "refused"
    await Release(ledger, provider)(7, LOOKUP, Hold(5, "EUR", "wallet:sender:bank"))


async def test_a_provider_that_will_not_release_what_a_sender_s_wallet_holds_is_asked_again(
    ledger: Ledger, provider: Provider
) -> None:
    """Only `insufficient` says that no money is kept; after any other refusal ours would stay there."""
    provider.answers = [always(Declined("account_closed"))]
    with pytest.raises(Temporary):
        await Release(ledger, provider)(7, LOOKUP, Hold(5, "EUR", "wallet:sender:bank"))

    assert ledger.intents["7:capture"]["state"] == "open"


@pytest.mark.parametrize(("reason", "errors"), [("insufficient", 0), ("account_closed", 1)])
async def test_a_debt_s_release_that_is_declined_is_told_unless_the_money_came_another_way(
    ledger: Ledger, provider: Provider, caplog: pytest.LogCaptureFixture, reason: str, errors: int
) -> None:
    """Its intent is closed, so the log is the only place where anybody learns of it."""
    repaid = {"payer": "p", "amount": 5, "currency": "EUR"}
    await ledger.execute("open_intent", key="k:repaid", verb="release", notification=None, payload=repaid, reserve=None)
    provider.answers = [always(Declined(reason))]
    await resume(ledger, provider)

    assert [record.levelname for record in caplog.records] == ["ERROR"] * errors


async def test_a_repaid_debt_that_no_provider_keeps_is_asked_about_once(ledger: Ledger, provider: Provider) -> None:
    """The same for a debt: its release ends, and is not asked for every half minute for ever."""
    repaid = {"payer": "p", "amount": 5, "currency": "EUR"}
    await ledger.execute("open_intent", key="k:repaid", verb="release", notification=None, payload=repaid, reserve=None)
    provider.answers = [always(Declined("insufficient"))]
    await resume(ledger, provider)

    assert ledger.intents["k:repaid"]["state"] == "refused"


@pytest.mark.parametrize(("reason", "pause"), [("storage", None), ("denied", 3600.0)])
async def test_a_full_disk_is_over_soon_and_any_other_refusal_is_not(
    ledger: Ledger, provider: Provider, monkeypatch: pytest.MonkeyPatch, reason: str, pause: float | None
) -> None:
    """Without a pause of its own the stage's backoff decides: seconds; money waits no hour for a disk."""

    async def refuse(_: str, /, **__: object) -> dict[str, object]:
        raise Refused(reason, "not now")

    monkeypatch.setattr(ledger, "execute", refuse)
    with pytest.raises(Temporary) as temporary:
        await Release(ledger, provider)(7, LOOKUP, Hold(5, "EUR", WALLET))

    assert temporary.value.retry_after == pause


HOLD = {"payer": "p", "amount": 5, "currency": "EUR"}


async def test_a_call_that_a_stage_will_ask_about_is_left_to_it(ledger: Ledger, provider: Provider) -> None:
    """It still waits there, and two that end one intent would race."""
    await ledger.execute("open_intent", key="7:hold", verb="hold", notification=7, payload=HOLD, reserve=None)
    intent = {"key": "7:hold", **ledger.intents["7:hold"]}

    assert await resume_one(ledger, provider, intent) is None
    assert (provider.asked, ledger.intents["7:hold"]["state"]) == (0, "open")


@pytest.mark.parametrize(
    ("freed", "state"), [(Done("1"), "refused"), (Declined("captured"), "refused"), (Unknown("no answer"), "open")]
)
async def test_a_card_held_for_what_was_given_up_is_asked_about_until_it_is_free(
    ledger: Ledger, provider: Provider, freed: Answer, state: str
) -> None:
    """Nobody's money may stay held because one answer was lost."""
    await ledger.execute("open_intent", key="7:hold", verb="hold", notification=None, payload=HOLD, reserve=None)
    provider.committed["7:hold"] = Order("7:hold", Verb.HOLD, "p", 5, "EUR")
    provider.answers = [always(freed)]
    await resume(ledger, provider)

    assert ledger.intents["7:hold"]["state"] == state


async def test_a_card_that_another_provider_holds_is_not_asked_for_here(
    ledger: Ledger, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """It never heard of it; the operator has to know which setting would find it."""
    release, hold = Release(ledger, provider), Hold(5, "EUR", f"card:stripe:{LOOKUP.hex()}", "pi_1")
    for end in (release, release.void):
        with pytest.raises(Temporary, match="held by stripe"):
            await end(7, LOOKUP, hold)

    assert provider.asked == 0
    assert "CLARION_PROVIDER" in caplog.text
