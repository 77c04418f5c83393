"""The ledger's verbs in any order: money is neither made nor lost, nobody falls below zero, and the chain holds."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from serving import money
from serving.errors import Refused
from serving.queue.lease import Posting as Posted
from serving.queue.store import audit, commands, ledger
from serving.queue.store.ledger import Posting
from serving.queue.store.transaction import Transaction
from tests.integration.peers import Store

RECIPIENTS = (b"\x01" * 32, b"\x02" * 32)
WALLETS = (*map(money.wallet_of, RECIPIENTS), money.wallet_of_sender("bank"))
AMOUNTS = st.integers(1, 40)
PROVIDER = "sandbox"


class MoneyMachine(RuleBasedStateMachine):
    """What a pay page, the stages, a provider and an operator may do, against sums in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "store")
        self.model: Counter[str] = Counter()
        self.held: dict[int, tuple[str, int]] = {}
        self.number = self.keys = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(wallet=st.sampled_from(WALLETS), amount=AMOUNTS)
    def top_up(self, wallet: str, amount: int) -> None:
        """By way of an intent, as every provider's call; a debt is paid in the same commit."""
        key = self.key()
        self.command("open_intent", key=key, verb="charge", notification=None, payload={"payer": "p"})
        moved = money.top_up(PROVIDER, wallet, amount)
        transfer = {"key": key, "currency": "EUR", "postings": as_json(moved)}
        self.command("close_intent", key=key, state="done", outcome={}, transfer=transfer)
        self.model.update(moved)
        self.repay(wallet)

    @rule(wallet=st.sampled_from(WALLETS), amount=AMOUNTS)
    def hold(self, wallet: str, amount: int) -> None:
        """A wallet that does not cover it is refused, and nothing moved."""
        self.number += 1
        if self.post(money.hold(self.number, wallet, amount), covered=self.model[wallet] >= amount):
            self.held[self.number] = (wallet, amount)

    @rule(wallet=st.sampled_from(WALLETS), amount=AMOUNTS)
    def owe(self, wallet: str, amount: int) -> None:
        """Delivered unpaid: the debt has no floor, the hold has."""
        self.number += 1
        debt = money.debt_of(wallet)
        self.post(money.hold(self.number, debt, amount), covered=True)
        self.held[self.number] = (debt, amount)

    @rule(amount=AMOUNTS)
    def hold_card(self, amount: int) -> None:
        """The provider holds it, and owes it to us once it is captured."""
        self.number += 1
        clearing = money.clearing_of(PROVIDER)
        self.post(money.hold(self.number, clearing, amount), covered=True)
        self.held[self.number] = (clearing, amount)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def capture(self, data: st.DataObject) -> None:
        """At most what is held; more is refused, and the hold stays as it was."""
        number = data.draw(st.sampled_from(sorted(self.held)))
        source, held = self.held[number]
        amount = data.draw(st.integers(0, held))
        too_much = (Posted(money.held_for(number), -held - 1), Posted(money.REVENUE, held + 1))
        self.post(too_much, covered=False)
        self.post(money.capture(number, source, amount, held), covered=True)
        del self.held[number]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        """Whoever paid has it again; a second time there is nothing."""
        number = data.draw(st.sampled_from(sorted(self.held)))
        source, held = self.held.pop(number)
        self.post(money.void(number, source, held), covered=True)
        self.post(money.void(number, source, held), covered=False)

    @rule(wallet=st.sampled_from(WALLETS), amount=AMOUNTS, agreed=st.booleans())
    def refund(self, wallet: str, amount: int, agreed: bool) -> None:
        """Aside with the intent, out or back with its end."""
        key, covered = self.key(), self.model[wallet] >= amount
        aside = money.held_for(key)
        reserve = {"key": f"{key}:reserved", "currency": "EUR", "postings": as_json({wallet: -amount, aside: amount})}
        opened = self.command("open_intent", key=key, verb="refund", notification=None, payload={}, reserve=reserve)
        assert opened is covered
        if not covered:
            return
        end = {aside: -amount, money.clearing_of(PROVIDER) if agreed else wallet: amount}
        transfer = {"key": f"{key}:end", "currency": "EUR", "postings": as_json(end)}
        self.command("close_intent", key=key, state="done" if agreed else "refused", outcome={}, transfer=transfer)
        if agreed:
            self.model.update({wallet: -amount, money.clearing_of(PROVIDER): amount})
        else:
            self.repay(wallet)

    @rule(recipient=st.sampled_from(RECIPIENTS), count=st.integers(0, 3))
    def use_allowance(self, recipient: bytes, count: int) -> None:
        """Granted once a month, and never below none."""
        account = money.allowance_of(money.wallet_of(recipient), "2026-11")
        if self.command("grant_allowance", account=account, count=count) and account not in self.model:
            self.model.update({account: count, "allowances": -count})
        postings = money.use_allowance(account)
        self.post(postings, covered=self.model[account] > 0, currency=money.UNITS)

    @invariant()
    def the_books_are_right(self) -> None:
        """Every balance is what the verbs say, none that has an owner is below zero, all of them sum to zero."""
        rows = self.store.sql("SELECT name, balance FROM account")
        balances = {row["name"]: row["balance"] for row in rows if row["balance"]}

        assert balances == {account: amount for account, amount in self.model.items() if amount}
        assert sum(balances.values()) == 0
        assert all(amount > 0 for account, amount in balances.items() if account.startswith(("wallet:", "hold:")))
        assert all(amount < 0 for account, amount in balances.items() if account.startswith("debt:"))
        assert self.store.do(audit.verify).intact

    def post(self, postings: Iterable[Posted], *, covered: bool, currency: str = "EUR") -> bool:
        """A hop's postings, as the broker books them."""
        made = [Posting(each.account, each.amount) for each in postings]
        key = self.key()
        reason = self.refusal(lambda transaction: ledger.transfer(transaction, key, made, currency))
        assert reason == (None if covered else "insufficient_funds")
        if covered:
            self.model.update(Counter({each.account: each.amount for each in made}))
        return covered

    def command(self, name: str, **parameters: object) -> bool:
        """False where the store refuses it for want of money."""
        reason = self.refusal(lambda transaction: commands.COMMANDS[name](transaction, **parameters))
        assert reason in (None, "insufficient_funds", "unbalanced")
        return reason is None

    def refusal(self, verb: Callable[[Transaction], object]) -> str | None:
        try:
            self.store.do(verb)
        except Refused as refused:
            return refused.reason
        return None

    def repay(self, wallet: str) -> None:
        """Whatever comes into a wallet pays its owner's debt first; also what a provider did not take back."""
        repaid = min(-self.model[money.debt_of(wallet)], self.model[wallet])
        self.model.update({wallet: -repaid, money.debt_of(wallet): repaid})

    def key(self) -> str:
        self.keys += 1
        return f"k{self.keys}"


def as_json(amounts: Mapping[str, int]) -> list[dict[str, object]]:
    return [{"account": account, "amount": amount} for account, amount in amounts.items()]


def test_any_order_of_any_verbs_keeps_the_sum_the_floors_and_the_chain() -> None:
    """Top up, hold, owe, capture, void, refund, give away: there is no order in which money appears or is lost."""
    run_state_machine_as_test(MoneyMachine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
