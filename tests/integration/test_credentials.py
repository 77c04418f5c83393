"""Keys and subjects in the store: how they begin, overlap and end, and that a key of an older store still opens."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.queue.store import credentials, directory
from serving.queue.store.transaction import Transaction
from tests.integration.peers import Store, refusal
from tests.integration.test_store_file import aged

SUBJECT = "https://login.example 4711"
DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


def enroll(store: Store, id_: str = "p", **known_by: str) -> None:
    store.do(lambda t: credentials.enroll_principal(t, id_, "Ops", ["ops.example"], {}, **known_by))


def revoked(store: Store) -> None:
    enroll(store, key_hash="a")
    store.do(lambda t: credentials.revoke_principal(t, "p"))


def rotate(store: Store, key: str, overlap: float) -> dict[str, Any]:
    return store.do(lambda t: credentials.rotate_key(t, "p", key, overlap))


def ends(store: Store, key: str) -> float | None:
    """When the key ends, None for never."""
    (row,) = store.do(lambda t: directory.principal_by_key(t, key))
    found: float | None = row["expires_at"]
    return found


def rows(store: Store) -> list[dict[str, Any]]:
    return store.do(directory.principals)


class TestCredentials:
    def test_a_rotated_key_stays_good_for_the_overlap_and_the_new_one_for_ever(self, store: Store) -> None:
        """A sender on many machines changes its key on one after the other."""
        enroll(store, key_hash="first")
        answer = rotate(store, "second", DAY)

        assert answer["until"] == ends(store, "first") == store.now + DAY
        assert ends(store, "second") is None

    def test_a_second_rotation_never_makes_an_old_key_live_longer(self, store: Store) -> None:
        """Whoever ends a key at once must not have it back by the next rotation."""
        enroll(store, key_hash="first")
        rotate(store, "second", 0.0)
        ended = ends(store, "first")
        store.now += 1.0
        rotate(store, "third", DAY)

        assert ended == ends(store, "first") == store.now - 1.0
        assert ends(store, "second") == store.now + DAY

    def test_a_shorter_overlap_ends_all_older_keys_by_then(self, store: Store) -> None:
        """`--now` after a leak must end them all."""
        enroll(store, key_hash="first")
        rotate(store, "second", DAY)
        rotate(store, "third", 0.0)

        assert ends(store, "first") == ends(store, "second") == store.now

    @pytest.mark.parametrize(
        "prepare",
        [
            lambda _: None,
            lambda store: enroll(store, subject=SUBJECT),
            revoked,
        ],
        ids=["nobody", "a sender without keys", "a revoked sender"],
    )
    def test_only_a_sender_with_a_key_gets_another(self, store: Store, prepare: Callable[[Store], object]) -> None:
        """A key that is printed and opens nothing would be found out at 2 a.m."""
        prepare(store)

        assert refusal(store, lambda: rotate(store, "b", DAY)) == ("not_found", True)

    def test_revoking_ends_everything_the_sender_is_known_by(self, store: Store) -> None:
        """In the list, too, nothing of a revoked sender may look alive."""
        enroll(store, key_hash="a")
        rotate(store, "b", DAY)
        store.do(lambda t: credentials.revoke_principal(t, "p"))

        assert [(row["expires_at"], row["revoked_at"]) for row in rows(store)] == [(store.now, store.now)] * 2

    def test_a_subject_is_one_sender_s_until_it_ends(self, store: Store) -> None:
        """Two senders of one subject would read each other's mail; one that was revoked frees it."""
        enroll(store, "p", subject=SUBJECT)
        taken = refusal(store, lambda: enroll(store, "q", subject=SUBJECT))
        store.do(lambda t: credentials.revoke_principal(t, "p"))
        enroll(store, "q", subject=SUBJECT)
        found = store.do(lambda t: directory.principal_by_subject(t, SUBJECT))

        assert taken == ("key_conflict", True)
        assert [(row["id"], row["domains"], row["expires_at"]) for row in found] == [("q", ["ops.example"], None)]

    def test_a_key_s_digest_is_no_subject_and_a_subject_no_key(self, store: Store) -> None:
        """The two are found by different names, whatever those say."""
        enroll(store, "p", key_hash=SUBJECT)

        assert store.do(lambda t: directory.principal_by_subject(t, SUBJECT)) == []

    def test_enrolling_again_replaces_what_the_sender_is_known_by_or_keeps_it(self, store: Store) -> None:
        """A new policy must not cost a sender its key, and a new key takes the old one's place."""
        enroll(store, key_hash="a")
        enroll(store)
        kept = ends(store, "a")
        enroll(store, key_hash="b")

        assert (kept, ends(store, "a"), ends(store, "b")) == (None, store.now, None)

    def test_the_last_use_is_the_latest_that_any_gateway_saw(self, store: Store) -> None:
        """Gateways write in any order, and about keys that are gone."""
        enroll(store, key_hash="a")
        for uses in ([("key", "a", 5.0), ("key", "gone", 5.0)], [("key", "a", 9.0)], [("key", "a", 7.0)]):
            store.do(lambda t, uses=uses: credentials.note_use(t, uses))  # type: ignore[misc]

        assert [row["used_at"] for row in rows(store)] == [9.0]

    def test_the_list_has_a_row_for_each_key_the_oldest_sender_first(self, store: Store) -> None:
        """What an operator looks at after a leak."""
        enroll(store, "p", key_hash="a")
        store.now += 1.0
        enroll(store, "q", subject=SUBJECT)
        rotate(store, "b", DAY)

        assert [(row["id"], row["kind"], row["credential"], row["created_at"]) for row in rows(store)] == [
            ("p", "key", "a", store.now - 1.0),
            ("p", "key", "b", store.now),
            ("q", "subject", SUBJECT, store.now),
        ]


def test_keys_of_the_schema_before_still_open_and_their_domains_stay(tmp_path: Path) -> None:
    """A release must not lock every sender out."""
    store = Store(tmp_path / "store")
    enroll(store, "p", key_hash="a")
    enroll(store, "q", key_hash="b")
    store.do(lambda t: credentials.revoke_principal(t, "q"))
    store.close()
    aged(tmp_path / "store", 4).close()

    def both(transaction: Transaction) -> list[dict[str, Any]]:
        return [row for key in ("a", "b") for row in directory.principal_by_key(transaction, key)]

    migrated = Store(tmp_path / "store")
    found = migrated.do(both)

    assert [(row["id"], row["domains"], row["revoked_at"]) for row in found] == [
        ("p", ["ops.example"], None),
        ("q", ["ops.example"], store.now),
    ]
    assert [row["expires_at"] for row in found] == [None, store.now]
    assert migrated.sql("SELECT * FROM pragma_foreign_key_check") == []
