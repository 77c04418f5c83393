"""The store's verbs on a real file: accepting, claiming, leasing."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serving.queue.limits import MAX_FACTS
from serving.queue.store import hops, intake
from serving.queue.store.hops import LeaseName, Pending
from serving.queue.store.intake import NewMessage
from tests.integration.peers import LOOKUP, OWNER, TO_ENCRYPTION, TO_PAYMENT, Store, held, refusal


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


class TestAccept:
    def test_one_body_for_n_recipients_is_stored_once(self, store: Store) -> None:
        """Twenty recipients of a 20 MB mail must not cost 400 MB."""
        ids = store.accept(recipients=20)
        bodies = len(store.sql("SELECT * FROM message"))

        assert bodies == 1
        assert len(set(ids.notifications)) == 20
        assert [store.row(id_)["ordinal"] for id_ in ids.notifications] == list(range(20))

    def test_the_same_key_and_content_answer_with_the_first_ids(self, store: Store) -> None:
        """A sender that lost the answer asks again and must not send twice."""
        first = store.accept(key="k", recipients=3)
        again = store.accept(key="k", recipients=3)

        assert (again.message, again.notifications) == (first.message, first.notifications)
        assert again.duplicate
        assert not first.duplicate

    def test_the_same_key_with_other_content_is_a_conflict(self, store: Store) -> None:
        """Answering with the first ids would hide that the second mail was never sent."""
        store.accept(key="k")
        other = NewMessage("sender", b"other", [(LOOKUP, b"a")], "k", b"other digest", {}, hops.NORMAL)

        assert refusal(store, lambda: store.do(lambda t: intake.accept(t, other))) == ("key_conflict", True)

    def test_keys_belong_to_their_sender(self, store: Store) -> None:
        """Otherwise one sender could learn, or block, another's ids."""
        first = store.accept(key="k")
        theirs = NewMessage("another", b"other", [(LOOKUP, b"a")], "k", b"other digest", {}, hops.NORMAL)
        second = store.do(lambda t: intake.accept(t, theirs))

        assert second.message != first.message
        assert not second.duplicate

    def test_a_message_without_recipient_is_refused(self, store: Store) -> None:
        """It could never be delivered, nor ever be seen again."""
        assert refusal(store, lambda: store.accept(recipients=0)) == ("malformed", True)

    def test_facts_over_the_limit_are_refused(self, store: Store) -> None:
        """A lease that carries them would not fit a message, and the notification would never be leased."""
        large = NewMessage("sender", b"b", [(LOOKUP, b"a")], None, b"", {"x": "y" * MAX_FACTS}, hops.NORMAL)

        assert refusal(store, lambda: store.do(lambda t: intake.accept(t, large))) == ("too_large", True)


class TestClaim:
    def test_urgent_goes_before_normal_and_older_before_newer(self, store: Store) -> None:
        """An incident must not wait behind a newsletter."""
        normal = store.accept().notifications[0]
        store.now += 1
        first = store.accept(urgent=True).notifications[0]
        store.now += 1
        second = store.accept(urgent=True).notifications[0]
        claimed = [each.row["id"] for each in store.claim("authentication", 3)]

        assert claimed == [first, second, normal]

    def test_a_turn_for_normal_takes_normal_first(self, store: Store) -> None:
        """Under a flood of urgent mail the rest still moves."""
        normal = store.accept().notifications[0]
        store.accept(urgent=True, recipients=5)

        assert store.claim("authentication", 1, normal_first=True)[0].row["id"] == normal

    @pytest.mark.parametrize(("octets", "expected"), [(1, 1), (100, 1), (101, 2), (200, 2), (201, 3), (10_000, 3)])
    def test_no_more_is_claimed_once_the_bodies_have_so_many_octets(
        self, store: Store, octets: int, expected: int
    ) -> None:
        """The first always is; urgent ones count first."""
        for urgent in (False, True, False):
            new = NewMessage("sender", bytes(100), [(LOOKUP, b"a")], None, b"", {}, 0 if urgent else 1)
            store.do(partial(intake.accept, new=new))
            store.now += 1
        claimed = store.claim("authentication", 8, octets=octets)

        assert [each.row["priority"] for each in claimed] == [0, 1, 1][:expected]
        assert len(store.claim("authentication", 8)) == 3 - expected

    def test_envelopes_count_where_they_are_the_body_and_nothing_where_there_is_none(self, store: Store) -> None:
        """At delivery, and at payment."""
        for _ in range(3):
            store.accept()
        for _ in range(3):
            store.walk(*TO_PAYMENT)
        held = store.claim("payment", 8, octets=1)
        for each in held:
            store.complete(LeaseName(each.row["id"], each.row["fence"], OWNER), "waived", facts={"waiver": "x"})

        assert len(held) == 3
        assert len(store.claim("delivery", 8, octets=2)) == 2

    def test_what_is_put_off_is_claimed_when_its_time_has_come(self, store: Store) -> None:
        """A delay is a promise in both directions."""
        store.accept()
        store.walk(("authentication", "unverified", {}), ("triage", "delayed", {"until": store.now + 10}))
        early = store.claim("encryption")
        store.now += 10
        due = store.claim("encryption")

        assert early == []
        assert len(due) == 1

    def test_what_is_parked_is_claimed_when_its_time_is_over_and_else_only_when_woken(self, store: Store) -> None:
        """Unpaid mail has an end; mail without a key waits for the key."""
        for _ in range(2):
            store.accept()
        store.walk(*TO_PAYMENT, ("payment", "unfunded", {"until": store.now + 10}))
        store.walk(*TO_ENCRYPTION, ("encryption", "key_missing", {}))
        store.now += 10

        assert len(store.claim("payment")) == 1
        assert store.claim("encryption") == []

    def test_attempts_count_within_a_stage(self, store: Store) -> None:
        """A mail that was retried at authentication has not failed at classification."""
        store.accept()
        name = store.lease("authentication")
        store.do(lambda t: hops.retry(t, name, 0.0, "why"))
        again = store.claim("authentication")[0]
        store.complete(LeaseName(again.row["id"], again.row["fence"], OWNER), "authenticated")
        after = store.claim("classification")[0]

        assert again.row["attempt"] == 2
        assert after.row["attempt"] == 1

    def test_a_stage_gets_the_body_that_it_works_on(self, store: Store) -> None:
        """Delivery gets the sealed envelope, payment sees neither mail nor envelope."""
        (id_,) = store.accept().notifications
        store.fund(10)
        bodies = [store.claim("authentication")[0].body]
        store.complete(LeaseName(id_, store.row(id_)["fence"], OWNER), "authenticated")
        store.walk(*TO_PAYMENT[1:])
        bodies.append(store.claim("payment")[0].body)
        store.complete(LeaseName(id_, store.row(id_)["fence"], OWNER), "held", **held(id_))
        bodies.append(store.claim("delivery")[0].body)

        assert bodies == [b"body", b"", b"e"]


class TestLease:
    @pytest.mark.parametrize("verb", ["complete", "note", "retry", "dead", "extend"])
    def test_only_the_last_lease_of_its_own_process_counts(self, store: Store, verb: str) -> None:
        """A worker that was slow, or that died and came back, must not act on what somebody else works on."""
        store.accept()
        old = store.lease("authentication")
        store.do(lambda t: hops.retry(t, old, 0.0, "why"))
        new = store.lease("authentication")
        names = (old, LeaseName(new.id, new.fence, "2:2"), LeaseName(new.id + 1, new.fence, OWNER))

        assert [refusal(store, partial(act, store, verb, name)) for name in names] == [("lease_lost", True)] * 3
        act(store, verb, new)

    def test_leases_of_a_dead_process_return_and_a_lease_that_kills_waits_longer_each_time(self, store: Store) -> None:
        """A mail that crashes its worker would otherwise crash one worker after the other without a pause."""
        (id_,) = store.accept().notifications
        waits = []
        for _ in range(12):
            store.now = max(store.now, store.row(id_)["available_at"])
            store.lease("authentication")
            store.do(lambda t: hops.release(t, OWNER))
            waits.append(store.row(id_)["available_at"] - store.now)

        assert waits[:3] == [0.0, 0.0, 0.0]
        assert waits[3:] == sorted(waits[3:])
        assert 1 < waits[-1] <= 60

    def test_a_lease_whose_time_is_over_returns_unless_it_was_extended(self, store: Store) -> None:
        """A worker that hangs must not hold mail for ever; one that works long may."""
        store.accept(recipients=2)
        hanging, working = store.lease("authentication"), store.lease("authentication")
        store.do(lambda t: hops.extend(t, working, 100.0))
        store.now += 61
        expired = store.do(hops.release_expired)

        assert [row["id"] for row in expired] == [hanging.id]
        assert store.row(hanging.id)["state"] == "queued"
        assert store.row(working.id)["state"] == "leased"

    def test_leases_that_a_process_does_not_name_return(self, store: Store) -> None:
        """They were lost between the broker's commit and the worker."""
        store.accept(recipients=3)
        known, lost, other = (store.lease("authentication") for _ in range(3))
        store.sql("UPDATE notification SET owner = '2:2' WHERE id = :id", id=other.id)
        store.do(lambda t: hops.release_others(t, OWNER, "authentication", {known.id}))

        assert [store.row(each.id)["state"] for each in (known, lost, other)] == ["leased", "queued", "leased"]


def act(store: Store, verb: str, name: LeaseName) -> None:
    verbs: dict[str, Callable[[Any], None]] = {
        "complete": lambda t: hops.complete(t, name, "authenticated", Pending(), None),
        "note": lambda t: hops.note(t, name, "kind", {"a": 1}),
        "retry": lambda t: hops.retry(t, name, 1.0, "why"),
        "dead": lambda t: hops.dead(t, name, "why"),
        "extend": lambda t: hops.extend(t, name, 1.0),
    }
    store.do(verbs[verb])
