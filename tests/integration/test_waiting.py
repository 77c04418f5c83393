"""What waits: digests and their parents, mail without money or key, and what wakes it."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serving.queue.store import commands, credentials, directory, hops, intake
from serving.queue.store.hops import LeaseName
from serving.queue.store.ledger import Posting
from tests.integration.peers import LOOKUP, OWNER, TO_DIGEST, TO_ENCRYPTION, TO_PAYMENT, WALLET, Store, refusal


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


class TestDigest:
    def bundle(self, store: Store, *parents: int, lookup: bytes = LOOKUP) -> int:
        ids = store.do(lambda t: intake.bundle(t, lookup, b"address", b"digest", parents))
        return ids.notifications[0]

    def deferred(self, store: Store, count: int) -> list[int]:
        ids = store.accept(recipients=count).notifications
        for _ in ids:
            store.walk(*TO_DIGEST)
        return list(ids)

    def test_parents_are_in_one_digest_and_end_with_it(self, store: Store) -> None:
        """A mail that was put off is delivered exactly when its digest is."""
        parents = self.deferred(store, 3)
        via = self.bundle(store, *parents)
        claimable = store.claim("digest", 9)
        free = {"envelope": b"e", "facts": {"envelope": {"form": "sealed"}}}
        store.walk(("encryption", "enclosed_free", free), ("delivery", "sent", {}))
        before = {store.row(id_)["state"] for id_ in parents}
        store.walk(("settlement", "unbilled", {}))

        assert claimable == []
        assert before == {"deferred"}
        assert {store.row(id_)["state"] for id_ in (*parents, via)} == {"delivered"}
        assert {store.row(id_)["via"] for id_ in parents} == {via}
        assert all(store.kinds(id_)[-2:] == ["bundled", "delivered"] for id_ in parents)

    def test_a_dead_digest_takes_its_parents_along(self, store: Store) -> None:
        """They must not wait for something that will never come."""
        parents = self.deferred(store, 2)
        self.bundle(store, *parents)
        name = store.lease("encryption")
        store.do(lambda t: hops.dead(t, name, "why"))

        assert {store.row(id_)["state"] for id_ in parents} == {"dead"}

    @pytest.mark.parametrize("fault", ["bundled", "twice", "none", "early", "ended", "other_recipient", "other_stage"])
    def test_what_cannot_be_bundled_changes_nothing(self, store: Store, fault: str) -> None:
        """A parent in two digests would be delivered twice, one in none never."""
        good, bad = self.deferred(store, 2)
        parents, lookup = [good, bad], LOOKUP
        if fault == "bundled":
            self.bundle(store, bad)
        elif fault == "twice":
            parents = [good, good]
        elif fault == "none":
            parents = []
        elif fault == "early":
            store.sql("UPDATE notification SET available_at = available_at + 9 WHERE id = :id", id=bad)
        elif fault == "ended":
            names = [LeaseName(each.row["id"], each.row["fence"], OWNER) for each in store.claim("digest", 2)]
            store.do(lambda t: hops.dead(t, next(name for name in names if name.id == bad), "why"))
        elif fault == "other_recipient":
            lookup = b"x" * 32
        else:
            parents = [good, store.accept().notifications[0]]

        assert refusal(store, lambda: self.bundle(store, *parents, lookup=lookup)) == ("not_bundleable", True)

    def test_bundling_voids_leases_of_the_parents(self, store: Store) -> None:
        """Whoever else holds one must not end it on its own."""
        self.deferred(store, 1)
        name = store.lease("digest")
        self.bundle(store, name.id)

        assert refusal(store, lambda: store.complete(name, "bundled", until=1.0)) == ("lease_lost", True)

    def test_only_due_mail_of_the_recipient_is_listed_and_the_callers_own(self, store: Store) -> None:
        """What the digest's writer works from."""
        first, second, bundled = self.deferred(store, 3)
        store.accept(recipients=1)
        store.walk(("authentication", "unverified", {}), ("triage", "digested", {"until": store.now + 99}))
        self.bundle(store, bundled)
        rows = store.do(lambda t: directory.digest_due(t, LOOKUP.hex(), str(first)))

        assert [row["id"] for row in rows] == [str(first), str(second)]


def top_up(amount: int, wallet: str = WALLET, key: str = "t") -> dict[str, Any]:
    """Money from outside, as a command takes it."""
    postings = [{"account": wallet, "amount": amount}, {"account": "clearing:x", "amount": -amount}]
    return {"key": key, "currency": "EUR", "postings": postings}


class TestWaking:
    def test_a_payment_wakes_the_payers_mail_and_a_key_the_recipients(self, store: Store) -> None:
        """Each wakes what waits for it and nothing else."""
        ids = store.accept(recipients=2).notifications
        (other,) = store.accept(lookup=b"x" * 32).notifications
        store.walk(*TO_PAYMENT, ("payment", "unfunded", {"until": store.now + 99}))
        store.walk(*TO_ENCRYPTION, ("encryption", "key_missing", {}))
        store.walk(*TO_PAYMENT, ("payment", "unfunded", {"until": store.now + 99}))
        store.do(lambda t: commands.open_intent(t, "k", "top_up", None, {}))
        store.do(lambda t: commands.close_intent(t, "k", "done", {}, top_up(9)))
        after_payment = [store.row(id_)["state"] for id_ in (*ids, other)]
        store.do(lambda t: commands.enroll_recipient(t, LOOKUP.hex(), "00", "00", {}, {}))
        after_key = [store.row(id_)["state"] for id_ in (*ids, other)]

        assert after_payment == ["queued", "parked", "parked"]
        assert after_key == ["queued", "queued", "parked"]

    def test_an_intent_is_closed_once(self, store: Store) -> None:
        """A provider's answer that comes twice must not be booked twice."""
        transfer = top_up(9)
        answers = [store.do(lambda t: commands.open_intent(t, "k", "top_up", None, {}))["state"]]
        for state in ("done", "refused"):
            answers.append(
                store.do(partial(commands.close_intent, key="k", state=state, outcome={}, transfer=transfer))["state"]
            )
        answers.append(store.do(lambda t: commands.open_intent(t, "k", "top_up", None, {}))["state"])

        assert answers == ["opened", "done", "done", "done"]
        assert store.balance(WALLET) == 9

    @pytest.mark.parametrize("amount", [1.5, "9", True, None])
    def test_an_amount_is_a_whole_number(self, store: Store, amount: Any) -> None:
        """Cut to an integer it would still balance, and be wrong."""
        postings = [{"account": WALLET, "amount": amount}, {"account": "clearing:x", "amount": amount}]
        store.do(lambda t: commands.open_intent(t, "k", "top_up", None, {}))
        transfer = {"key": "t", "currency": "EUR", "postings": postings}

        assert refusal(store, lambda: store.do(lambda t: commands.close_intent(t, "k", "done", {}, transfer))) == (
            "malformed",
            True,
        )

    def test_nobody_enrols_under_the_digests_name(self, store: Store) -> None:
        """Mail of the empty principal is trusted to be a digest of ours."""
        assert refusal(store, lambda: store.do(lambda t: credentials.enroll_principal(t, "", "n", [], {}, "h"))) == (
            "malformed",
            True,
        )


class TestWakeThatCrossesParking:
    """The wallet was empty when it was asked, and full before the notification was parked."""

    @pytest.mark.parametrize("wallet", [WALLET, "wallet:sender:sender"])
    def test_money_that_comes_while_it_is_worked_on_is_not_missed(self, store: Store, wallet: str) -> None:
        """Nobody tops up twice because the first time went unheard; a sender's money is no other."""
        store.accept()
        store.walk(*TO_PAYMENT)
        name = store.lease("payment")
        store.do(lambda t: commands.open_intent(t, "k", "charge", None, {}))
        store.do(lambda t: commands.close_intent(t, "k", "done", {}, top_up(9, wallet)))
        store.complete(name, "unfunded", until=store.now + 1_000)

        assert [claimed.row["id"] for claimed in store.claim("payment")] == [name.id]

    def test_a_wake_of_the_last_claim_does_not_count_for_this_one(self, store: Store) -> None:
        """Or it would spin between claim and parking for ever."""
        self.test_money_that_comes_while_it_is_worked_on_is_not_missed(store, WALLET)
        (row,) = store.sql("SELECT id, fence FROM notification")
        store.complete(LeaseName(row["id"], row["fence"], OWNER), "unfunded", until=store.now + 1_000)

        assert store.claim("payment") == []


class TestMoneyThatComes:
    """What a credited wallet does in the same transaction."""

    def test_a_senders_money_wakes_that_senders_mail_alone(self, store: Store) -> None:
        """A sender who pays is told at the door; what was let in before its money went goes on when it comes."""
        store.accept()
        store.walk(*TO_PAYMENT, ("payment", "unfunded", {"until": store.now + 99}))
        waiting = []
        for wallet, key in (("wallet:sender:other", "k1"), ("wallet:sender:sender", "k2")):
            store.do(partial(commands.open_intent, key=key, verb="charge", notification=None, payload={}))
            transfer = top_up(9, wallet, key)
            store.do(partial(commands.close_intent, key=key, state="done", outcome={}, transfer=transfer))
            waiting.append(store.sql("SELECT state FROM notification")[0]["state"])

        assert waiting == ["parked", "queued"]

    def test_a_debt_is_paid_first_and_its_release_is_written_down_with_it(self, store: Store) -> None:
        """Owed money comes before new mail; and the provider, who keeps it, is to give it to us once."""
        (id_,) = store.accept().notifications
        store.walk(*TO_PAYMENT, ("payment", "owed", owed(id_, 7)), ("delivery", "sent", {}))
        debt = [Posting("advances", 7), Posting(f"debt:{WALLET}", -7)]
        hop = captured(id_, 7)
        store.walk(("settlement", "captured", {**hop, "postings": [*hop["postings"], *debt]}))
        for amount, key in ((5, "k1"), (9, "k2")):
            payload = {"payer": "p1"}
            store.do(partial(commands.open_intent, key=key, verb="charge", notification=None, payload=payload))
            transfer = top_up(amount, key=key)
            store.do(partial(commands.close_intent, key=key, state="done", outcome={}, transfer=transfer))
        intents = store.sql("SELECT key, verb, payload FROM intent WHERE state = 'open' ORDER BY key")

        assert (store.balance(WALLET), store.balance(f"debt:{WALLET}"), store.balance("revenue")) == (7, 0, 7)
        assert [(row["key"], row["verb"], json.loads(row["payload"])["amount"]) for row in intents] == [
            ("k1:repaid", "release", 5),
            ("k2:repaid", "release", 2),
        ]

    def test_what_is_to_be_refunded_leaves_the_wallet_with_the_intent(self, store: Store) -> None:
        """More than there is cannot be promised, and then no intent is open either."""
        store.fund(9)
        back = [{"account": WALLET, "amount": -10}, {"account": "hold:refund:1", "amount": 10}]
        reserve = {"key": "r", "currency": "EUR", "postings": back}
        begin = partial(commands.open_intent, key="k", verb="refund", notification=None, payload={}, reserve=reserve)

        assert refusal(store, lambda: store.do(begin)) == ("insufficient_funds", True)

    def test_a_notice_is_written_once_for_each_kind(self, store: Store) -> None:
        """A stage that died after the commit writes its letter again: the payer gets one."""
        (about,) = store.accept().notifications
        write = partial(
            commands.write_notice, about=str(about), recipient=LOOKUP.hex(), address="00", body="00", is_open=True
        )
        ids = [store.do(partial(write, kind=kind))["id"] for kind in ("asked", "asked", "expired")]
        rows = [store.row(int(id_)) for id_ in ids]

        assert ids[0] == ids[1] != ids[2]
        assert [row["priority"] for row in rows] == [hops.URGENT, hops.URGENT, hops.NORMAL]
        assert json.loads(rows[0]["facts"]) == {
            "waiver": "notice",
            "notice": "asked",
            "about": str(about),
            "open": True,
        }
        assert rows[0]["stage"] == "encryption"

    def test_a_notice_once_a_day_is_one_for_all_that_it_is_about(self, store: Store) -> None:
        """A thousand held mails are one mail to their recipient, and another to another."""
        about = [store.accept().notifications[0] for _ in range(2)]
        write = partial(commands.write_notice, kind="keyless", address="00", body="00", is_open=True)
        ids = [
            store.do(partial(write, about=str(id_), recipient=recipient.hex(), once=day))["id"]
            for id_, recipient, day in (
                (about[0], LOOKUP, "2026-11-25"),
                (about[1], LOOKUP, "2026-11-25"),
                (about[1], LOOKUP, "2026-11-26"),
                (about[1], bytes(32), "2026-11-25"),
            )
        ]

        assert ids[0] == ids[1]
        assert len({*ids}) == 3


def owed(id_: int, amount: int) -> dict[str, Any]:
    """What payment's hop collects where nobody paid in time and it is delivered all the same."""
    postings = [Posting("advances", -amount), Posting(f"hold:{id_}", amount)]
    return {"postings": postings, "currency": "EUR"}


def captured(id_: int, amount: int) -> dict[str, Any]:
    """What settlement's hop collects."""
    return {"postings": [Posting(f"hold:{id_}", -amount), Posting("revenue", amount)], "currency": "EUR"}
