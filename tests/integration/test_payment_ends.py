"""The ends of paid mail that nobody plans for: given up, refused, in another currency, or with a name too long."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serving import money
from serving import pipeline as p
from serving import values as v
from serving.errors import ConfigurationError, Refused
from serving.payment.topup import keep_resuming
from serving.pipeline import Stage
from serving.queue.client import Client
from serving.queue.store import commands, directory, hops, ledger, operators
from serving.queue.store.books import Books
from serving.queue.store.ledger import Posting
from tests.integration.peers import LOOKUP, TO_PAYMENT, WALLET, Store, held, refusal
from tests.integration.stages import accept, always, is_at, row, working

Eventually = Callable[..., Awaitable[None]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def intent(store: Store, key: str) -> dict[str, Any]:
    (found,) = store.sql("SELECT * FROM intent WHERE key = :key", key=key)
    return dict(found)


def begin(store: Store, key: str, verb: str, notification: int | None, payload: dict[str, Any]) -> None:
    of = None if notification is None else str(notification)
    store.do(partial(commands.open_intent, key=key, verb=verb, notification=of, payload=payload))


Moved = dict[str, int]
IN_SANDBOX: Moved = {"wallet:a": 5, "clearing:sandbox": -5}
SPENT: Moved = {"wallet:a": -5, "revenue": 5}
IN_STRIPE: Moved = {"wallet:a": 7, "clearing:stripe": -7}
BOOKS: list[tuple[list[Moved], str, str, str]] = [
    ([], "EUR", "stripe", ""),
    ([IN_SANDBOX], "EUR", "sandbox", ""),
    ([IN_SANDBOX], "USD", "sandbox", "the books are in EUR; set CLARION_CURRENCY=EUR again"),
    ([IN_SANDBOX], "EUR", "stripe", "wallets hold money that sandbox keeps"),
    ([{"hold:1": 5, "clearing:sandbox": -5}], "EUR", "stripe", "set CLARION_PROVIDER=sandbox again"),
    ([IN_SANDBOX, SPENT], "EUR", "stripe", ""),
    ([IN_SANDBOX, SPENT, IN_STRIPE], "EUR", "stripe", ""),
    ([IN_SANDBOX, SPENT, IN_STRIPE], "EUR", "sandbox", "wallets hold money that stripe keeps"),
    ([IN_SANDBOX, SPENT, IN_STRIPE, {"wallet:a": -7, "clearing:stripe": 7}], "EUR", "sandbox", ""),
    ([IN_SANDBOX, SPENT, {"wallet:sender:a": 5, "clearing:x402": -5}], "EUR", "stripe", ""),
    ([IN_SANDBOX, SPENT, {"hold:1": 5, "advances": -5}], "EUR", "stripe", ""),
    ([IN_SANDBOX, SPENT, {"hold:1": 5, "card:stripe:a": -5}], "EUR", "stripe", ""),
]


class TestBooks:
    @pytest.mark.parametrize(("moved", "currency", "provider", "said"), BOOKS)
    def test_books_that_are_kept_in_something_else_are_not_opened(
        self, store: Store, moved: list[Moved], currency: str, provider: str, said: str
    ) -> None:
        """Each mail that is to be paid would end in an error, one by one, hours later; and no healthy store is shut."""
        for number, transfer in enumerate(moved):
            postings = [Posting(*each) for each in transfer.items()]
            store.do(partial(ledger.transfer, key=f"k{number}", postings=postings, currency="EUR"))
        store.do(lambda t: commands.grant_allowance(t, "wallet:free:b:2026-11", 3))
        with pytest.raises(ConfigurationError, match=said) if said else nullcontext():
            Books(currency, provider).check(store.database)


class TestEnds:
    def test_what_a_directory_tells_of_money(self, store: Store) -> None:
        """Every query that payments live on, with rows behind it."""
        begin(store, "a", "charge", None, {"payer": "p", "wallet": WALLET, "amount": 9, "currency": "EUR"})
        begin(store, "b", "charge", None, {"payer": "p", "currency": "EUR"})
        (id_,) = store.accept().notifications
        begin(store, f"{id_}:capture", "release", id_, {"payer": "p"})
        store.do(partial(commands.remember_intent, key="a", reference="cs_1"))
        again = store.do(partial(commands.open_intent, key="a", verb="charge", notification=None, payload={}))
        postings = [{"account": WALLET, "amount": 9}, {"account": "clearing:x", "amount": -9}]
        transfer = {"key": "a", "currency": "EUR", "postings": postings}
        store.do(partial(commands.close_intent, key="a", state="done", outcome={"reference": "pi"}, transfer=transfer))
        account = money.allowance_of(WALLET, "2026-11")
        granted = [store.do(partial(commands.grant_allowance, account=account, count=3)) for _ in "12"]
        loose = store.do(lambda t: directory.intents(t, loose=True))
        after = store.do(lambda t: directory.intents(t, after=(loose[0]["opened_at"], f"{id_}:capture")))
        statement = store.do(lambda t: directory.statement(t, WALLET))
        charges = store.do(lambda t: directory.charges(t, WALLET))

        assert (again["state"], again["reference"]) == ("open", "cs_1")
        assert granted == [{"granted": True}, {"granted": False}]
        assert [each["key"] for each in loose] == ["b"]
        assert [each["key"] for each in after] == ["b"]
        assert [(each["key"], each["amount"]) for each in statement] == [("a", 9)]
        assert [each["key"] for each in charges] == ["a"]
        assert store.do(lambda t: directory.intent(t, "\0")) == []
        assert store.do(lambda t: directory.statement(t, WALLET, before=statement[0]["seq"])) == []

    def test_what_the_receiver_has_is_settled_and_never_given_up(self, store: Store) -> None:
        """Its money is ours at the provider, perhaps: to give the hold back would be mail for nothing."""
        (id_,) = store.accept().notifications
        store.fund(9)
        hop = {**held(id_), "facts": {"hold": {"amount": 5, "currency": "EUR", "account": WALLET}}}
        store.walk(*TO_PAYMENT, ("payment", "held", hop), ("delivery", "sent", {"facts": {"receipt": {"code": 250}}}))

        assert refusal(store, lambda: store.do(lambda t: operators.kill(t, str(id_), "enough"))) == ("incomplete", True)
        name = store.lease("settlement")
        assert refusal(store, lambda: store.do(lambda t: hops.dead(t, name, "failed"))) == ("incomplete", True)

    def test_money_that_goes_back_to_a_wallet_wakes_who_waits_for_it(self, store: Store) -> None:
        """The next mail of the same recipient must not wait a day for money that is there."""
        first, second = (store.accept().notifications[0] for _ in range(2))
        store.fund(5)
        store.walk(*TO_PAYMENT, ("payment", "held", held(first)))
        store.walk(*TO_PAYMENT, ("payment", "unfunded", {"until": store.now + 86_400.0}))
        name = store.lease("delivery")
        store.do(lambda t: hops.dead(t, name, "no such mailbox"))

        assert (store.balance(WALLET), store.row(second)["state"]) == (5, "queued")

    def test_what_settlement_returns_wakes_who_waits_for_it(self, store: Store) -> None:
        """The common way: the receiver refuses, and the next mail can be paid from the same money."""
        first, second = (store.accept().notifications[0] for _ in range(2))
        store.fund(5)
        store.walk(*TO_PAYMENT, ("payment", "held", held(first)))
        store.walk(*TO_PAYMENT, ("payment", "unfunded", {"until": store.now + 86_400.0}))
        back = {"postings": [Posting(f"hold:{first}", -5), Posting(WALLET, 5)], "currency": "EUR"}
        store.walk(("delivery", "undeliverable", {}), ("settlement", "returned", back))

        assert (store.balance(WALLET), store.row(second)["state"]) == (5, "queued")

    def test_a_call_about_a_card_outlives_the_notification_that_it_was_for(self, store: Store) -> None:
        """Whether the card is held is not known when the operator gives up: somebody must go on asking."""
        (id_,) = store.accept().notifications
        store.walk(*TO_PAYMENT, ("payment", "unfunded", {"until": store.now + 99}))
        begin(store, f"{id_}:hold", "hold", id_, {"payer": "p", "amount": 5, "currency": "EUR"})
        store.do(lambda t: operators.kill(t, str(id_), "enough"))

        assert intent(store, f"{id_}:hold")["notification"] is None

    @pytest.mark.parametrize("begun", [False, True])
    def test_a_card_that_is_held_for_what_is_given_up_has_an_intent_to_free_it(self, store: Store, begun: bool) -> None:
        """Written with the end itself, so that no crash comes between; one that settlement has begun is not doubled."""
        (id_,) = store.accept().notifications
        store.walk(*TO_PAYMENT, ("payment", "unfunded", {"until": store.now + 99}))
        begin(store, f"{id_}:hold", "hold", id_, {"payer": "p", "amount": 5, "currency": "EUR"})
        ended = {"reference": "pi_1"}
        store.do(partial(commands.close_intent, key=f"{id_}:hold", state="done", outcome=ended))
        if begun:
            begin(store, f"{id_}:void", "void", id_, {"payer": "p", "amount": 5, "currency": "EUR", **ended})
        store.do(lambda t: operators.kill(t, str(id_), "enough"))
        void = intent(store, f"{id_}:void")

        assert (void["verb"], void["notification"], json.loads(void["payload"])["reference"]) == ("void", None, "pi_1")

    def test_a_debt_that_is_repaid_early_is_never_more_than_was_delivered(self, store: Store) -> None:
        """Mail that is delivered unpaid and then is not delivered at all costs nothing, whatever came in meanwhile."""
        (id_,) = store.accept().notifications
        debt = money.debt_of(WALLET)
        owed = [Posting(each.account, each.amount) for each in money.hold(id_, debt, 5)]
        facts = {"hold": {"amount": 5, "currency": "EUR", "account": debt}}
        store.walk(*TO_PAYMENT, ("payment", "owed", {"postings": owed, "currency": "EUR", "facts": facts}))
        begin(store, "k", "charge", None, {"payer": "p", "currency": "EUR"})
        paid = [{"account": WALLET, "amount": 5}, {"account": "clearing:x", "amount": -5}]
        transfer = {"key": "k", "currency": "EUR", "postings": paid}
        store.do(partial(commands.close_intent, key="k", state="done", outcome={}, transfer=transfer))
        name = store.lease("delivery")
        store.do(lambda t: hops.dead(t, name, "no such mailbox"))

        assert [store.balance(account) for account in (WALLET, debt, "advances", f"hold:{id_}")] == [5, 0, 0, 0]

    def test_a_provider_is_not_asked_for_money_that_the_books_cannot_take(self, store: Store) -> None:
        """CLARION_CURRENCY was changed: the payer would be charged, and the wallet never credited."""
        store.fund(9)
        accounts = [WALLET, "clearing:new"]
        payload = {"payer": "p", "currency": "USD"}
        begun = partial(
            commands.open_intent, key="k", verb="charge", notification=None, payload=payload, accounts=accounts
        )

        assert refusal(store, lambda: store.do(begun)) == ("malformed", True)

    @pytest.mark.parametrize("octets", [513, 4_000])
    def test_a_notice_to_an_address_that_no_lease_can_carry_is_refused(self, store: Store, octets: int) -> None:
        """One such lease took the credit of a worker with it, and eight of them a whole stage."""
        (about,) = store.accept().notifications
        letter: dict[str, Any] = {"recipient": LOOKUP.hex(), "address": "00" * octets, "body": "00", "is_open": True}

        assert refusal(
            store, lambda: store.do(partial(commands.write_notice, about=str(about), kind="expired", **letter))
        ) == ("too_large", True)


async def test_a_long_message_id_is_delivered_once_and_paid_once(client: Client, eventually: Eventually) -> None:
    """Open mail keeps its own, however long; what does not fit into a hop must not send the mail again."""
    sent: list[int] = []

    async def send(work: Any) -> p.Sent:
        sent.append(work.id)
        return p.Sent(v.Receipt(250, "ok", f"<{'x' * 1_700}@bank.example>"))

    stages = {
        Stage.AUTHENTICATION: always(p.Authenticated("api_key")),
        Stage.CLASSIFICATION: always(p.Urgent(v.Prediction("urgent", 0.9, None, False, "test"), None)),
        Stage.ENCRYPTION: always(p.EnclosedFree(v.OpenByPolicy(b"mail", "sender"), "policy")),
        Stage.DELIVERY: send,
        Stage.SETTLEMENT: always(p.Unbilled("policy")),
    }
    async with working(client, stages):
        id_ = await accept(client)
        await eventually(lambda: is_at(client, id_, "delivered"))

    assert sent == [id_]
    assert len((await row(client, id_))["facts"]["receipt"]["message_id"]) == 200


async def test_reconciliation_goes_on_whatever_one_intent_does(eventually: Eventually) -> None:
    """It is all that credits a payer whose browser closed: one refusal must not be its end, nor the others'."""
    asked: list[str] = []

    class Books:
        def __init__(self) -> None:
            self.looks = 0

        async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
            assert name == "intents"
            self.looks += "after" not in parameters
            if self.looks == 1:
                raise Refused("storage", "the disk is full")
            keys = [] if "after" in parameters else ["bad", "good"]
            payload = {"payer": "p", "amount": 5, "currency": "EUR"}
            common = {"verb": "release", "state": "open", "notification": None, "payload": payload, "opened_at": 0.0}
            return [{"key": key, **common} for key in keys]

        async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
            if parameters["key"] == "bad":
                raise ZeroDivisionError
            asked.append(f"{name} {parameters['key']}")
            return {"state": "done", "outcome": {"reference": "1"}}

    books = Books()
    task = asyncio.create_task(keep_resuming(books, None, every=0.01))  # type: ignore[arg-type]

    async def has_gone_on() -> bool:
        return books.looks > 3

    await eventually(has_gone_on)
    task.cancel()

    assert asked[:2] == ["open_intent good", "open_intent good"]
