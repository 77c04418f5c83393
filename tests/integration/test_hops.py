"""One hop, one transaction: the mail, its money, its history and its counters move together or not at all."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serving.queue.limits import MAX_FACTS
from serving.queue.store import commands, directory, history, hops
from serving.queue.store.history import EXPECTED
from serving.queue.store.ledger import Posting
from tests.integration.peers import TO_ENCRYPTION, TO_PAYMENT, WALLET, Store, held, refusal


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


class TestHop:
    def test_a_hop_moves_the_mail_its_money_its_history_and_its_counters_together(self, store: Store) -> None:
        """Anything that could be applied alone could be lost alone."""
        (id_,) = store.accept().notifications
        store.fund(10)
        store.walk(*TO_PAYMENT, ("payment", "held", {"facts": {"hold": {"amount": 5}}, **held(id_)}))

        assert store.row(id_)["stage"] == "delivery"
        assert (store.balance(WALLET), store.balance(f"hold:{id_}")) == (5, 5)
        assert store.kinds(id_) == ["accepted", "authenticated", "urgent", "enclosed", "held"]

    @pytest.mark.parametrize(
        ("reason", "outcome", "collected"),
        [
            ("edge_forbidden", "sent", {}),
            ("edge_forbidden", "", {}),
            ("insufficient_funds", "held", {"amount": 11}),
            ("unbalanced", "held", {"postings": [Posting(WALLET, -5)], "currency": "EUR"}),
            ("denied", "held", {"postings": [Posting("revenue", 5), Posting(WALLET, -5)], "currency": "EUR"}),
            ("malformed", "held", {"postings": [Posting(WALLET, -5), Posting("hold:1", 5)], "currency": "JPY"}),
            ("incomplete", "held", {}),
            ("too_large", "waived", {"facts": {"waiver": "x" * MAX_FACTS}}),
        ],
    )
    def test_a_refused_hop_changes_nothing(
        self, store: Store, reason: str, outcome: str, collected: dict[str, Any]
    ) -> None:
        """Half a hop would be money without mail, or mail without money."""
        (id_,) = store.accept().notifications
        store.fund(10)
        store.walk(*TO_PAYMENT)
        name = store.lease("payment")
        if "amount" in collected:
            collected = held(id_, collected["amount"])
        values = {
            "facts": {"a": 1},
            "envelope": b"other",
            "seen": [history.Increment(b"k" * 32, 1, 1.0, 0)],
            **collected,
        }

        assert refusal(store, lambda: store.complete(name, outcome, **values)) == (reason, True)
        store.complete(name, "held", **held(id_))

    @pytest.mark.parametrize("missing", ["envelope", "envelope_fact"])
    def test_nothing_reaches_payment_without_its_envelope(self, store: Store, missing: str) -> None:
        """Paid for and empty."""
        store.accept()
        store.walk(*TO_ENCRYPTION)
        name = store.lease("encryption")
        values = dict(TO_PAYMENT[-1][2])
        del values["envelope" if missing == "envelope" else "facts"]

        assert refusal(store, lambda: store.complete(name, "enclosed", **values)) == ("incomplete", True)

    def test_what_is_put_off_needs_a_time(self, store: Store) -> None:
        """Without one nothing would ever claim it again."""
        store.accept()
        store.walk(("authentication", "unverified", {}))
        name = store.lease("triage")

        assert refusal(store, lambda: store.complete(name, "delayed")) == ("incomplete", True)

    def test_an_end_takes_the_outgoing_mail_with_it(self, store: Store) -> None:
        """Nothing that was sent stays at rest longer than needed."""
        (id_,) = store.accept().notifications
        waiver = {"facts": {"waiver": "policy"}}
        store.walk(*TO_PAYMENT, ("payment", "waived", waiver), ("delivery", "sent", {}), ("settlement", "unbilled", {}))
        envelopes = len(store.sql("SELECT * FROM envelope"))

        assert store.row(id_)["state"] == "delivered"
        assert envelopes == 0
        assert store.claim("settlement") == []

    def test_giving_up_returns_the_hold(self, store: Store) -> None:
        """Nobody is charged for what was not delivered."""
        (id_,) = store.accept().notifications
        store.fund(10)
        store.walk(*TO_PAYMENT, ("payment", "held", held(id_)))
        name = store.lease("delivery")
        store.do(lambda t: hops.dead(t, name, "why"))

        assert (store.balance(WALLET), store.balance(f"hold:{id_}")) == (10, 0)
        assert store.row(id_)["state"] == "dead"

    def test_the_edge_sets_the_priority(self, store: Store) -> None:
        """The classifier's word counts, not the sender's."""
        urgent, normal = store.accept(recipients=2).notifications
        for outcome in ("authenticated", "unverified"):
            store.walk(("authentication", outcome, {}))
        store.walk(("classification", "urgent", {}))

        assert {store.row(urgent)["priority"], store.row(normal)["priority"]} == {hops.URGENT, hops.NORMAL}


class TestHistory:
    def test_seen_and_reaction_count_once_however_often_they_come(self, store: Store) -> None:
        """A repeated hop or click would teach the classifier something that never happened."""
        (id_,) = store.accept().notifications
        seen = [history.Increment(b"k" * 32, 2, 7.0, 3)]
        store.walk(
            ("authentication", "authenticated", {}),
            (
                "classification",
                "uncertain",
                {"seen": seen, "reaction": EXPECTED.pack(b"r" * 32, 9.0) + EXPECTED.pack(b"q" * 32, 8.9)},
            ),
        )
        store.walk(("reanalysis", "urgent", {"seen": seen, "reaction": EXPECTED.pack(b"z" * 32, 99.0)}))
        for kind in ("acknowledged", "acknowledged", "was_urgent", "not_urgent"):
            store.do(partial(commands.react, id=str(id_), kind=kind, at=9.0))
        rows = store.do(lambda t: directory.counters(t, [(each * 32).encode().hex() for each in "krzq"]))

        assert [(row["count"], row["last"], row["link"]) for row in rows] == [(2, 7.0, 3), (1, 9.0, 0)]

    def test_counters_are_found_by_whole_keys_alone(self, store: Store) -> None:
        """They are asked for together, as one run of octets: a short key must not shift those behind it."""
        store.accept()
        seen = [history.Increment(key * 32, number, 1.0, 0) for number, key in enumerate((b"a", b"b", b"c"), start=1)]
        store.walk(("authentication", "authenticated", {}), ("classification", "urgent", {"seen": seen}))
        asked = [b"c" * 32, b"b" * 31, b"", b"unknown".ljust(32), b"a" * 32]
        rows = store.do(lambda t: directory.counters(t, [key.hex() for key in asked]))

        assert {row["key"]: row["count"] for row in rows} == {(b"c" * 32).hex(): 3, (b"a" * 32).hex(): 1}
        assert store.do(lambda t: directory.counters(t, [])) == []

    def test_a_link_is_written_once(self, store: Store) -> None:
        """The first thread a message belongs to is its thread."""
        for at, link in ((1.0, 0), (5.0, 11), (3.0, 12)):
            store.accept()
            record = [history.Increment(b"k" * 32, 1, at, link)]
            store.walk(("authentication", "authenticated", {}), ("classification", "urgent", {"seen": record}))
        (row,) = store.do(lambda t: directory.counters(t, [(b"k" * 32).hex()]))

        assert (row["count"], row["last"], row["link"]) == (3, 5.0, 11)

    def test_an_unknown_reaction_and_an_unknown_id_are_refused(self, store: Store) -> None:
        """The gateway passes on what people send."""
        (id_,) = store.accept().notifications

        assert refusal(store, lambda: store.do(lambda t: commands.react(t, str(id_), "loved", 1.0)))[0] == "malformed"
        assert refusal(store, lambda: store.do(lambda t: commands.react(t, "1", "acknowledged", 1.0)))[0] == "not_found"
