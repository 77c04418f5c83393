"""What is forgotten, and above all what is not: mail that still waits, histories, money."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.queue.store import directory, hops, intake, operators, retention
from serving.queue.store.intake import Ids, NewMessage
from serving.queue.store.transaction import Identifiers, earliest
from tests.integration.peers import LOOKUP, TO_DIGEST, Store, refusal

MONTH = 30 * 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def forget(store: Store) -> bool:
    return store.do(lambda transaction: retention.forget(transaction, MONTH))


def bodies(store: Store) -> list[bytes]:
    return [bytes(row["body"]) for row in store.sql("SELECT body FROM message ORDER BY id")]


class TestRetention:
    def test_a_body_goes_when_its_mail_has_ended_for_everybody_and_is_old(self, store: Store) -> None:
        """Whoever reads the store later finds when something happened, and not what it said."""
        ended = store.accept().notifications
        half = store.accept(recipients=2).notifications
        for id_ in (*ended, half[0]):
            store.do(lambda t, id_=id_: operators.kill(t, str(id_), "over"))  # type: ignore[misc]
        forget(store)
        early = bodies(store)
        store.now += MONTH + 60
        forget(store)

        assert early == [b"body", b"body"]
        assert bodies(store) == [b"", b"body"]
        assert store.kinds(ended[0]) == ["accepted", "killed"]

    def test_a_digests_parents_keep_their_bodies_until_it_is_delivered(self, store: Store) -> None:
        """It is written from them, once its time has come."""
        store.accept()
        store.walk(*TO_DIGEST)
        store.now += 3 * MONTH
        forget(store)

        assert bodies(store) == [b"body"]

    def test_a_key_is_forgotten_and_may_come_again(self, store: Store) -> None:
        """A key is a promise for a while; for ever, the table would only grow."""
        first = store.accept(key="k")
        store.now += MONTH - 60
        forget(store)
        within = store.accept(key="k")
        store.now += 120
        forget(store)
        after = store.accept(key="k")

        assert within.notifications == first.notifications
        assert after.notifications != first.notifications

    def test_a_key_of_each_recipient_is_known_for_a_week(self, store: Store) -> None:
        """However short the time of retention: mail servers try again for days. Afterwards it is another mail."""

        def accept() -> Ids:
            new = NewMessage("sender", b"body", [(LOOKUP, b"a")], "k", b"d", {}, hops.NORMAL, key_each=True)
            return store.do(lambda t: intake.accept(t, new))

        def forget_all() -> None:
            store.do(lambda transaction: retention.forget(transaction, 0.0))

        first = accept()
        store.now += 7 * 86_400.0 - 60
        forget_all()
        within = accept()
        store.now += 120
        after = accept()
        forget_all()
        store.now += 60

        assert (within.notifications, within.duplicate) == (first.notifications, True)
        assert (after.notifications == first.notifications, after.duplicate) == (False, False)
        assert accept().notifications == after.notifications

    def test_a_forgotten_body_cannot_be_sent_again(self, store: Store) -> None:
        """An empty mail would be worse than a refusal."""
        (id_,) = store.accept().notifications
        store.do(lambda t: operators.kill(t, str(id_), "over"))
        store.now += 2 * MONTH
        forget(store)

        assert refusal(store, lambda: store.do(lambda t: operators.replay(t, str(id_)))) == ("incomplete", True)

    def test_few_are_forgotten_at_once_and_the_rest_next_time(self, store: Store) -> None:
        """Mail is waiting for the same transaction."""
        ids = [store.accept(key=f"{number}").notifications[0] for number in range(250)]
        for id_ in ids:
            store.do(lambda t, id_=id_: operators.kill(t, str(id_), "over"))  # type: ignore[misc]
        store.now += 2 * MONTH
        more = [forget(store) for _ in range(3)]

        assert more == [True, False, False]
        assert set(bodies(store)) == {b""}

    def test_histories_and_depths_stay(self, store: Store) -> None:
        """The promise is that every id can always be asked."""
        (id_,) = store.accept().notifications
        store.do(lambda t: operators.kill(t, str(id_), "over"))
        store.now += 2 * MONTH
        forget(store)

        (row,) = store.do(lambda t: directory.notification(t, str(id_)))
        assert row["state"] == "dead"


def test_ids_and_moments_agree() -> None:
    """What is old is found by its id."""
    identifiers = Identifiers(63)
    before, at = identifiers.next(999.999), identifiers.next(1_000.0)

    assert before < earliest(1_000.0) <= at


def test_ids_grow_and_those_of_two_brokers_never_meet() -> None:
    """Thirty thousand in one millisecond are more than it has room for."""
    made = {number: [Identifiers(number)] for number in (0, 1)}
    first, second = ([made[number][0].next(5.0) for _ in range(30_000)] for number in (0, 1))

    assert first == sorted(set(first))
    assert not set(first) & set(second)
