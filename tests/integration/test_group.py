"""Many verbs in one transaction: what waits to be written is never missed, and one that is refused leaves nothing."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from serving.errors import Refused
from serving.queue.store import credentials, hops, intake
from serving.queue.store.group import Group, Verb
from serving.queue.store.history import Increment
from serving.queue.store.intake import NewMessage
from serving.queue.store.transaction import Foreseen, Identifiers, Transaction
from serving.topology import topology
from tests.integration.peers import LOOKUP, Store
from tests.integration.verbs import EXPECTED, accept, accept_each, claim, complete, note, script

NUMBERS = count(1)
ENVELOPE = "SELECT body FROM envelope WHERE notification = 2"


class Counting(Identifiers):
    """Ids that are the same in every run."""

    def next(self, now: float) -> int:
        del now
        self._count += 1
        return self._count


@dataclass
class Grouped:
    """A store whose groups of verbs are committed, together or each by itself."""

    store: Store
    identifiers: Identifiers = field(default_factory=Counting)

    def commit(self, *verbs: Verb) -> list[Any]:
        """The answers; what is refused is the reason's name."""
        answers, _ = Group(self.store.database, topology(), self.identifiers).commit(verbs)
        return [answer.reason if isinstance(answer, Refused) else answer for answer in answers]


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """New stores, each on a file of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Store(tmp_path / f"{next(NUMBERS)}")))


@pytest.fixture
def grouped(make_store: Callable[[], Store]) -> Grouped:
    return Grouped(make_store())


class TestGroup:
    def test_what_waits_is_seen_by_the_next_statement(self, grouped: Grouped) -> None:
        """Accepted, claimed and moved on in one transaction."""
        answers = grouped.commit(
            accept(), claim("authentication"), complete(2, "authenticated"), claim("classification")
        )

        assert answers[1] == answers[3] == [2]
        assert grouped.store.kinds(2) == ["accepted", "authenticated"]

    def test_a_hop_that_is_refused_leaves_no_envelope(self, grouped: Grouped) -> None:
        """The envelope waits to be written while the hop is still being checked."""
        grouped.commit(accept(), claim("authentication"), complete(2, "authenticated"), claim("classification"))
        grouped.commit(complete(2, "urgent", 2), claim("encryption"))
        refused, accepted = grouped.commit(complete(2, "enclosed_free", 3, envelope=b"sealed"), accept())

        assert refused == "incomplete"
        assert grouped.store.do(lambda t: t.database.execute(ENVELOPE).fetchone()) is None
        assert accepted is not None

    def test_an_envelope_lets_the_hop_that_brings_it_pass(self, grouped: Grouped) -> None:
        """It is not in the store yet when the next stage's demands are checked."""
        grouped.commit(accept(), claim("authentication"), complete(2, "authenticated"), claim("classification"))
        grouped.commit(complete(2, "urgent", 2), claim("encryption"))
        facts = {"envelope": {"form": "open"}, "waiver": "failed_open"}
        answers = grouped.commit(
            complete(2, "enclosed_free", 3, envelope=b"sealed", facts=facts), claim("delivery"), accept()
        )
        row = grouped.store.do(lambda t: t.database.execute(ENVELOPE).fetchone())

        assert answers[:2] == [None, [2]]
        assert row is not None
        assert bytes(row["body"]) == b"sealed"

    def test_who_somebody_is_can_be_asked_between_what_waits(self, grouped: Grouped) -> None:
        """Such a read neither runs what waits nor sets a savepoint; a verb refused after it leaves nothing all the
        same."""

        def asks_and_is_refused(transaction: Transaction) -> None:
            transaction.one("recipient", lookup=LOOKUP)
            transaction.event(2, None, "never", None, {})
            raise Refused("denied", "after all")

        answers = grouped.commit(accept(), asks_and_is_refused, claim("authentication"))

        assert answers[1:] == ["denied", [2]]
        assert grouped.store.kinds(2) == ["accepted"]

    def test_a_lease_ends_once(self, grouped: Grouped) -> None:
        """The row was read for both of them before either had begun."""
        grouped.commit(accept(), claim("authentication"))

        assert grouped.commit(complete(2, "authenticated"), complete(2, "authenticated")) == [None, "lease_lost"]
        assert grouped.store.kinds(2) == ["accepted", "authenticated"]

    def test_a_row_that_was_read_beforehand_is_read_again_once_it_may_have_changed(self, grouped: Grouped) -> None:
        """Facts that one verb writes are what the next one adds to."""
        grouped.commit(accept(recipients=2), claim("authentication", 2))
        grouped.commit(note(2, a=1), complete(3, "authenticated"), complete(2, "authenticated", facts={"b": 2}))

        assert grouped.store.row(2)["facts"] == '{"a":1,"b":2}'

    def test_a_key_is_one_message_within_a_transaction_too(self, grouped: Grouped) -> None:
        """A sender that repeats itself at once is not two senders."""
        first, again, other = grouped.commit(accept("k"), accept("k"), accept("k", b"other"))

        assert (again.message, again.notifications, again.duplicate) == (first.message, first.notifications, True)
        assert other == "key_conflict"
        assert grouped.commit(accept("k"), accept("l"))[0].duplicate

    def test_a_key_of_each_recipient_is_one_notification_within_a_transaction_too(self, grouped: Grouped) -> None:
        """A relay that lost the 250 comes again on another connection, perhaps with other recipients."""
        first, more, fewer, all_known = grouped.commit(
            *(accept_each("k", *each) for each in ((1, 2), (2, 3), (2,), (3, 1)))
        )

        assert (first.duplicate, more.duplicate, fewer.duplicate, all_known.duplicate) == (False, False, True, True)
        assert more.notifications[0] == first.notifications[1] == fewer.notifications[0]
        assert all_known.notifications == (more.notifications[1], first.notifications[0])
        assert len(grouped.store.sql("SELECT id FROM notification")) == 3
        assert len(grouped.store.sql("SELECT id FROM message")) == 2

    def test_a_key_of_each_recipient_is_no_key_of_the_message(self, grouped: Grouped) -> None:
        """Who sends by HTTP under the same key means another thing by it."""
        mine, other, conflict = grouped.commit(accept_each("k", 1), accept("k"), accept_each("k", 1, digest=b"e"))

        assert not mine.duplicate
        assert not other.duplicate
        assert conflict == "key_conflict"

    def test_what_is_refused_leaves_nothing_and_harms_nobody(self, grouped: Grouped) -> None:
        """Whether its writes waited still or had been made already."""

        def refused(transaction: Transaction) -> None:
            intake.accept(transaction, NewMessage("x", b"", [(LOOKUP, b"")], "x", b"", {}, hops.NORMAL))
            raise Refused("malformed", "no")

        def refused_late(transaction: Transaction) -> None:
            intake.accept(transaction, NewMessage("x", b"", [(LOOKUP, b"")], "x", b"", {}, hops.NORMAL))
            transaction.one("depths")
            raise Refused("malformed", "no")

        first, *no, last = grouped.commit(accept("a"), refused, refused_late, refused, accept("b"))

        assert no == ["malformed"] * 3
        assert {row["id"] for row in grouped.store.sql("SELECT id FROM message")} == {first.message, last.message}
        assert [row["key"] for row in grouped.store.sql("SELECT key FROM idempotency ORDER BY key")] == ["a", "b"]

    @pytest.mark.parametrize("asked", [False, True])
    @pytest.mark.parametrize("id_", [77, 1 << 70])
    def test_a_row_that_is_refused_is_its_own_verbs_alone(self, grouped: Grouped, id_: int, asked: bool) -> None:
        """By the database or by its driver; it may have waited among others': then all is done again, carefully."""

        def twice(transaction: Transaction) -> None:
            for _ in range(2):
                transaction.later("insert_message", id=id_, principal="x", body=b"")
            if asked:
                transaction.one("depths")

        answers = grouped.commit(accept("a"), twice, accept("b"))

        assert answers[1] == "malformed"
        assert len(grouped.store.sql("SELECT id FROM message")) == 2

    def test_an_id_that_none_can_be_harms_nobody(self, grouped: Grouped) -> None:
        """A peer may name any 64 bits; what is read for all of a transaction must not fail for it."""
        grouped.commit(accept(), claim("authentication"))
        strange = [complete(id_, "authenticated") for id_ in (1 << 63, (1 << 64) - 1)]
        *refused, good, last = grouped.commit(*strange, complete(2, "authenticated"), accept("k"))

        assert set(refused) <= {"lease_lost", "malformed"}
        assert good is None
        assert last.notifications

    def test_what_cannot_be_foreseen_is_done_without(self, grouped: Grouped) -> None:
        """Whatever the reason that the one statement for all of them fails, each verb gets its own answer."""
        grouped.commit(accept("a"))
        strange = Foreseen(lambda _: "done", keys=[("sender", "no\ud800 text")])
        answers = grouped.commit(strange, accept("k"))

        assert answers[0] == "done"
        assert answers[1].notifications

    @pytest.mark.parametrize("name", ["insert_message", "depths"])
    def test_a_verb_without_a_savepoint_that_is_refused_late_leaves_nothing(self, grouped: Grouped, name: str) -> None:
        """What it had written, or what a read had made it write, is undone with all others', who do theirs again."""

        def late(transaction: Transaction) -> None:
            transaction.later("insert_message", id=77, principal="x", body=b"")
            parameters = {"id": 78, "principal": "x", "body": b""} if name == "insert_message" else {}
            transaction.run(name, **parameters)
            raise Refused("denied", "after all")

        answers = grouped.commit(accept(), Foreseen(late), accept())

        assert answers[1] == "denied"
        assert len(grouped.store.sql("SELECT id FROM message")) == 2
        assert not grouped.store.sql("SELECT id FROM message WHERE id IN (77, 78)")

    def test_what_is_to_follow_a_verb_that_is_refused_does_not(self, grouped: Grouped) -> None:
        """And what follows others' is their own: nothing of it has to be done again."""
        told: list[list[int]] = []

        def follow(transaction: Transaction, what: Sequence[int]) -> None:
            transaction.run("insert_message", id=100 + len(told), principal="x", body=b"")
            told.append([*what])

        def asks_and_is_refused(transaction: Transaction) -> None:
            transaction.one("depths")
            transaction.once_written(follow, 2)
            raise Refused("denied", "after all")

        grouped.commit(
            lambda t: t.once_written(follow, 1),
            Foreseen(asks_and_is_refused),
            Foreseen(lambda t: t.once_written(follow, 3)),
            Foreseen(lambda t: t.once_written(follow, 4)),
        )

        assert told == [[1], [3, 4]]

    def test_what_is_analysed_twice_counts_once(self, grouped: Grouped) -> None:
        """A mail that the model was not sure of has not come twice."""
        increments = [Increment(bytes(32), 1, 0.0, 0)]
        grouped.commit(accept(), claim("authentication"), complete(2, "authenticated"), claim("classification"))
        grouped.commit(complete(2, "uncertain", 2, seen=increments), claim("reanalysis"))
        answers = grouped.commit(complete(2, "urgent", 3, seen=increments))

        assert answers == [None]
        assert [row["count"] for row in grouped.store.sql("SELECT count FROM counter")] == [1]

    def test_a_count_that_no_column_holds_is_its_own_verbs_alone(self, grouped: Grouped) -> None:
        """Counters of all verbs are grown by one statement."""
        grouped.commit(accept(), accept(), claim("authentication", 2))
        grouped.commit(*(complete(id_, "authenticated") for id_ in (2, 4)), claim("classification", 2))
        much, little = ([Increment(bytes([n]) * 32, count, 0.0, 0)] * 2 for n, count in ((1, (1 << 63) - 1), (2, 1)))
        answers = grouped.commit(complete(2, "urgent", 2, seen=much), complete(4, "urgent", 2, seen=little))

        assert answers == ["malformed", None]
        assert [row["count"] for row in grouped.store.sql("SELECT count FROM counter")] == [2]

    def test_messages_ripen_in_the_order_in_which_they_were_analysed(self, make_store: Callable[[], Store]) -> None:
        """Whose link a counter keeps does not depend on what a transaction held."""
        together, apart = Grouped(make_store()), Grouped(make_store())
        moved = [complete(id_, "authenticated") for id_ in (2, 3, 5)]
        before = [accept(recipients=2), accept(), claim("authentication", 3), *moved, claim("classification", 3)]
        analysed = [
            complete(id_, "urgent", 2, seen=[Increment(bytes(32), 1, 0.0, id_)], reaction=EXPECTED) for id_ in (2, 5, 3)
        ]
        together.commit(*before)
        together.commit(*analysed)
        for verb in (*before, *analysed):
            apart.commit(verb)
        asked = "SELECT count, link FROM counter"

        assert [(row["count"], row["link"]) for row in together.store.sql(asked)] == [(3, 5)]
        assert [(row["count"], row["link"]) for row in apart.store.sql(asked)] == [(3, 5)]

    @pytest.mark.parametrize("seed", range(12))
    def test_together_is_as_one_after_the_other(self, make_store: Callable[[], Store], seed: int) -> None:
        """The same verbs leave the same rows and get the same answers, however they are grouped."""
        verbs = script(random.Random(seed))  # noqa: S311 - replayable, not secret
        together, apart = Grouped(make_store()), Grouped(make_store())
        moment = {"now": 1_000_000.0}
        for each in (together, apart):
            each.store.do(lambda t: credentials.enroll_principal(t, "sender", "Ops", [], {"webhook": {"url": "u"}}))
            each.store.database.begin = still(each.store, moment)  # type: ignore[method-assign]
        size = 2 + seed * 3
        answers = [answer for at in range(0, len(verbs), size) for answer in together.commit(*verbs[at : at + size])]

        assert answers == [answer for verb in verbs for answer in apart.commit(verb)]
        assert together.store.dump() == apart.store.dump()
        assert "lease_lost" in answers
        assert together.store.sql("SELECT 1 FROM counter, counted LIMIT 1")
        ended = together.store.sql("SELECT id FROM notification WHERE stage IS NULL ORDER BY id")
        told = together.store.sql("SELECT notification AS id FROM webhook ORDER BY notification")
        assert [row["id"] for row in told] == [row["id"] for row in ended]


def still(store: Store, moment: dict[str, float]) -> Callable[[], float]:
    """`begin`, at a time that stands still."""
    begin = store.database.begin

    def begun() -> float:
        begin()
        return moment["now"]

    return begun
