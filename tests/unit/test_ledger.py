"""The ledger over a real store: money is neither made nor lost, and no row changes unnoticed."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from serving.errors import Refused
from serving.queue.limits import MAX_AMOUNT
from serving.queue.store import audit, ledger
from serving.queue.store.audit import Verdict
from serving.queue.store.ledger import Posting, link
from tests.integration.peers import Store

ACCOUNTS = ["wallet:a", "wallet:b", "hold:1", "hold:2", "revenue", "clearing:test"]
AMOUNTS = st.integers(-50, 50)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.connection.close()


def post(store: Store, key: str, *postings: tuple[str, int], currency: str = "EUR") -> bool:
    made = [Posting(account, amount) for account, amount in postings]
    return store.do(lambda transaction: ledger.transfer(transaction, key, made, currency))


def verify(store: Store) -> Verdict:
    return store.do(audit.verify)


class LedgerMachine(RuleBasedStateMachine):
    """Random transfers against a model that knows nothing of SQL."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "store")
        self.model: Counter[str] = Counter()
        self.keys: set[str] = set()

    @rule(account=st.sampled_from(ACCOUNTS[:2]), amount=st.integers(1, 60), number=st.integers(0, 5))
    def top_up(self, account: str, amount: int, number: int) -> None:
        self.attempt(f"top-up {number}", [("clearing:test", -amount), (account, amount)])

    @rule(
        postings=st.lists(st.tuples(st.sampled_from(ACCOUNTS), AMOUNTS), max_size=5),
        balanced=st.booleans(),
        number=st.integers(0, 30),
    )
    def transfer(self, postings: list[tuple[str, int]], balanced: bool, number: int) -> None:
        if balanced:
            postings = [*postings, ("revenue", -sum(amount for _, amount in postings))]
        self.attempt(f"transfer {number}", postings)

    @precondition(lambda self: self.keys)
    @rule()
    def open_again(self) -> None:
        """What is durable is all there is."""
        self.store.connection.close()
        self.store = Store(Path(self.folder.name) / "store")

    def attempt(self, key: str, postings: list[tuple[str, int]]) -> None:
        expected = self.expected(key, postings)
        try:
            answer: bool | str = post(self.store, key, *postings)
        except Refused as refused:
            answer = refused.reason
        assert answer == expected
        if answer is True:
            self.keys.add(key)
            for account, amount in postings:
                self.model[account] += amount

    def expected(self, key: str, postings: list[tuple[str, int]]) -> bool | str:
        net: Counter[str] = Counter()
        for account, amount in postings:
            net[account] += amount
        if key in self.keys:
            return False
        if sum(net.values()) != 0 or not any(net.values()):
            return "unbalanced"
        floored = [account for account in net if account.startswith(("wallet:", "hold:")) and net[account]]
        return "insufficient_funds" if any(self.model[each] + net[each] < 0 for each in floored) else True

    @invariant()
    def balances_are_the_models(self) -> None:
        assert {account: self.store.balance(account) for account in ACCOUNTS} == {
            account: self.model[account] for account in ACCOUNTS
        }
        assert sum(self.model.values()) == 0

    @invariant()
    def the_chain_is_intact(self) -> None:
        verdict = verify(self.store)
        assert verdict.intact, verdict.fault
        assert verdict.transfers == len(self.keys)

    def teardown(self) -> None:
        self.store.connection.close()
        self.folder.cleanup()


def test_any_order_of_any_transfers_keeps_the_sum_the_floors_and_the_chain() -> None:
    """The machine above finds the shortest order that does not."""
    run_state_machine_as_test(LedgerMachine, settings=settings(max_examples=25, stateful_step_count=20, deadline=None))


def test_books_of_an_older_release_are_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their times were hashed in milliseconds; what is written since follows on them."""
    monkeypatch.setattr("serving.queue.store.ledger.link", partial(link, is_older=True))
    store.now += 0.123456
    fill(store)
    monkeypatch.undo()
    store.now += 0.654321
    post(store, "4", ("clearing:test", -1), ("wallet:a", 1))

    assert verify(store).intact


def fill(store: Store) -> None:
    post(store, "1", ("clearing:test", -100), ("wallet:a", 100))
    post(store, "2", ("wallet:a", -5), ("hold:1", 5))
    post(store, "3", ("hold:1", -5), ("revenue", 5))


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE posting SET amount = amount * 2 WHERE transfer = 2", "transfer 2: its hash"),
        ("UPDATE posting SET account = 'wallet:b' WHERE transfer = 1 AND amount > 0", "transfer 1: its hash"),
        ("DELETE FROM posting WHERE transfer = 3", "transfer 3: its hash"),
        ("INSERT INTO posting VALUES (2, 'clearing:test', 0)", "transfer 2: its hash"),
        ("UPDATE transfer SET at = at + 1 WHERE seq = 2", "transfer 2: its hash"),
        ("UPDATE transfer SET at = at + 0.000001 WHERE seq = 2", "transfer 2: its hash"),
        ("UPDATE transfer SET key = 'x' WHERE seq = 3", "transfer 3: its hash"),
        ("UPDATE transfer SET hash = zeroblob(32) WHERE seq = 1", "transfer 1: its hash"),
        ("DELETE FROM transfer WHERE seq = 2", "transfer 2: it is missing"),
        ("DELETE FROM posting WHERE transfer = 3; DELETE FROM transfer WHERE seq = 3", "account hold:1: its balance"),
        ("UPDATE account SET balance = 1000 WHERE name = 'wallet:a'", "account wallet:a: its balance"),
        ("INSERT INTO account VALUES ('wallet:z', 'EUR', 7)", "account wallet:z: its balance"),
        ("UPDATE account SET currency = 'USD' WHERE name = 'revenue'", "account revenue: its currency"),
    ],
)
def test_the_first_altered_row_is_named(store: Store, statement: str, fault: str) -> None:
    """Somebody with the file and a SQL shell must not be able to make money without being found."""
    fill(store)
    for trigger in ("transfer_is_append_only", "transfer_stays", "posting_is_append_only", "posting_stays"):
        store.connection.execute(f"DROP TRIGGER {trigger}")
    store.connection.execute("PRAGMA foreign_keys = OFF")
    whole = verify(store)
    store.connection.executescript(statement)
    altered = verify(store)

    assert whole.intact
    assert not altered.intact
    assert altered.fault is not None
    assert altered.fault.startswith(fault)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE posting SET amount = 0", "DELETE FROM posting", "UPDATE transfer SET at = 0", "DELETE FROM transfer"],
)
def test_the_store_itself_refuses_to_change_what_was_posted(store: Store, statement: str) -> None:
    """Append-only, also for our own mistakes."""
    fill(store)

    with pytest.raises(Exception, match="append-only"):
        store.connection.execute(statement)


def test_a_key_posts_once(store: Store) -> None:
    """A hop that is repeated after a crash must not charge again."""
    fill(store)
    again = post(store, "2", ("wallet:a", -5), ("hold:1", 5))

    assert again is False
    assert store.balance("wallet:a") == 95


def test_a_transfer_in_another_currency_is_refused(store: Store) -> None:
    """Five cents are not five yen."""
    fill(store)

    with pytest.raises(Refused, match="malformed"):
        post(store, "4", ("wallet:a", -5), ("hold:9", 5), currency="JPY")
    assert verify(store).intact


def test_an_amount_over_the_limit_is_refused(store: Store) -> None:
    """The wire carries 32 bits; sums stay far from 64."""
    with pytest.raises(Refused, match="too_large"):
        post(store, "1", ("clearing:test", -MAX_AMOUNT - 1), ("wallet:a", MAX_AMOUNT + 1))


def test_the_head_tells_whether_the_end_was_cut_off(store: Store) -> None:
    """A chain alone cannot know of transfers after its last one; a head kept elsewhere can."""
    fill(store)
    before = verify(store).head
    post(store, "4", ("revenue", -1), ("clearing:test", 1))

    assert verify(store).head != before
