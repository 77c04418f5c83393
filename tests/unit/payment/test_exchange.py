"""Top-ups in two commits: whatever dies, and wherever, money moves once and both books agree."""

import pytest

from serving.payment.provider import Declined, Done, Unknown
from serving.payment.topup import resume, top_up
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


async def test_a_top_up_credits_the_wallet(ledger: Ledger, provider: Provider) -> None:
    """The recipient paid; what the broker does about it is tested with the broker."""
    answer = await pay_in(ledger, provider)

    assert answer == Done("1")
    assert ledger.accounts == {WALLET: 500, "clearing:sandbox": -500}


async def test_the_provider_is_told_no_address_and_not_the_whole_lookup(ledger: Ledger, provider: Provider) -> None:
    """The provider gets a name of its own for each payer, nothing that finds a person."""
    await pay_in(ledger, provider)

    assert [order.payer for order in provider.committed.values()] == [LOOKUP.hex()[:16]]


@pytest.mark.parametrize("moment", range(1, 7))
async def test_a_top_up_killed_at_any_moment_is_resumed_and_paid_once(
    ledger: Ledger, provider: Provider, power: Power, moment: int
) -> None:
    """Every moment before and after each of the three effects; the six are all there are."""
    power.left = moment
    with pytest.raises(Killed):
        await pay_in(ledger, provider)

    await pay_in(ledger, provider)
    await resume(ledger, provider)

    assert list(provider.committed) == ["top-up:1"]
    assert ledger.accounts == {WALLET: 500, "clearing:sandbox": -500}


async def test_resume_finishes_what_nobody_comes_back_for(ledger: Ledger, provider: Provider, power: Power) -> None:
    """The payer closed the page after paying; the wallet gets its money all the same."""
    power.left = 4
    with pytest.raises(Killed):
        await pay_in(ledger, provider)

    await resume(ledger, provider)

    assert ledger.accounts[WALLET] == 500
    assert provider.asked == 1


async def test_an_unknown_answer_is_asked_about_and_not_paid_again(ledger: Ledger, provider: Provider) -> None:
    """A timeout taken for a failure is how payers pay twice."""
    provider.answers = [timed_out_after_committing]
    first = await pay_in(ledger, provider)
    assert ledger.accounts == {}

    second = await pay_in(ledger, provider)

    assert (first, second) == (Unknown("no answer"), Done("1"))
    assert provider.asked == 1
    assert ledger.accounts[WALLET] == 500


async def test_a_declined_charge_moves_nothing_and_stays_declined(ledger: Ledger, provider: Provider) -> None:
    """A closed intent is an answer; the same key is not tried on the payer's card again."""
    provider.answers = [always(Declined("card_declined"))]
    await pay_in(ledger, provider)

    again = await pay_in(ledger, provider)

    assert again == Declined("card_declined")
    assert (provider.committed, ledger.accounts) == ({}, {})


@pytest.mark.parametrize("amount", [0, -5, 2**31])
async def test_a_top_up_of_nothing_is_refused_before_anything_is_written(
    ledger: Ledger, provider: Provider, amount: int
) -> None:
    """A negative top-up would take money out of a wallet."""
    with pytest.raises(ValueError, match="positive"):
        await top_up(ledger, provider, wallet=WALLET, amount=amount, currency="EUR", key="top-up:1")

    assert ledger.intents == {}
