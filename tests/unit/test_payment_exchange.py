"""A provider call in two commits: whatever dies, and wherever, money moves once and both books agree."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving.errors import Temporary
from serving.payment.provider import Absent, Answer, Declined, Done, NeedsPayer, Order, TryLater, Unknown, Verb
from serving.payment.refund import refund
from serving.payment.release import Release
from serving.payment.topup import resume, top_up
from serving.values import Hold

LOOKUP = bytes(range(32))
WALLET = f"wallet:{LOOKUP.hex()}"


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Power:
    """Goes off at the n-th of the moments around each effect; never, when `left` is None."""

    left: int | None = None

    def tick(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left == 0:
            self.left = None
            raise Killed


@dataclass
class Ledger:
    """Intents and accounts as the broker keeps them: each command is one commit."""

    power: Power
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    accounts: Counter[str] = field(default_factory=Counter)

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        assert name == "intents"
        _, after = parameters.get("after", (0.0, ""))
        found = [
            {"key": key, "opened_at": 0.0, **intent} for key, intent in sorted(self.intents.items()) if key > after
        ]
        loose = [each for each in found if each["notification"] is None and each["state"] == parameters["state"]]
        return loose[:2]

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        self.power.tick()
        commands = {"open_intent": self._open, "close_intent": self._close, "remember_intent": self._remember}
        done = commands[name](parameters)
        self.power.tick()
        return done

    def _open(self, parameters: dict[str, Any]) -> dict[str, Any]:
        known = self.intents.get(parameters["key"])
        if known is None:
            self._move(parameters.pop("reserve"))
            self.intents[parameters["key"]] = {**parameters, "state": "open", "outcome": None}
            return {"state": "opened", "outcome": None}
        return {"state": known["state"], "outcome": known["outcome"], "reference": known["payload"].get("reference")}

    def _close(self, parameters: dict[str, Any]) -> dict[str, Any]:
        intent = self.intents[parameters["key"]]
        if intent["state"] != "open":
            return {"state": intent["state"]}
        intent |= {"state": parameters["state"], "outcome": parameters["outcome"]}
        self._move(parameters["transfer"])
        return {"state": parameters["state"]}

    def _remember(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self.intents[parameters["key"]]["payload"]["reference"] = parameters["reference"]
        return {}

    def _move(self, transfer: dict[str, Any] | None) -> None:
        postings = (transfer or {"postings": []})["postings"]
        assert sum(posting["amount"] for posting in postings) == 0
        self.accounts.update({posting["account"]: posting["amount"] for posting in postings})


@dataclass
class Provider:
    """Idempotent by key; `answers` says what goes wrong with the next calls (None: nothing)."""

    power: Power
    answers: list[Callable[["Provider", Order], Answer] | None] = field(default_factory=list)
    committed: dict[str, Order] = field(default_factory=dict)
    asked: int = 0
    name: str = "sandbox"

    async def perform(self, order: Order) -> Answer:
        self.power.tick()
        trouble = self.answers.pop(0) if self.answers else None
        answer = trouble(self, order) if trouble else self._commit(order)
        self.power.tick()
        return answer

    async def find(self, order: Order) -> Answer | Absent:
        self.asked += 1
        self.power.tick()
        return Done("1") if order.key in self.committed else Absent()

    def _commit(self, order: Order) -> Answer:
        assert self.committed.setdefault(order.key, order) == order
        return Done("1")


def timed_out_after_committing(provider: Provider, order: Order) -> Answer:
    provider.committed[order.key] = order
    return Unknown("no answer")


def always(answer: Answer) -> Callable[[Provider, Order], Answer]:
    return lambda _, __: answer


@pytest.fixture
def power() -> Power:
    return Power()


@pytest.fixture
def ledger(power: Power) -> Ledger:
    return Ledger(power)


@pytest.fixture
def provider(power: Power) -> Provider:
    return Provider(power)


async def pay_in(ledger: Ledger, provider: Provider) -> Answer:
    return await top_up(ledger, provider, wallet=WALLET, amount=500, currency="EUR", key="top-up:1")


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


async def test_a_repaid_debt_that_no_provider_keeps_is_asked_about_once(ledger: Ledger, provider: Provider) -> None:
    """The same for a debt: its release ends, and is not asked for every half minute for ever."""
    repaid = {"payer": "p", "amount": 5, "currency": "EUR"}
    await ledger.execute("open_intent", key="k:repaid", verb="release", notification=None, payload=repaid, reserve=None)
    provider.answers = [always(Declined("insufficient"))]
    await resume(ledger, provider)

    assert ledger.intents["k:repaid"]["state"] == "refused"
