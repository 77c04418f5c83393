"""What the store does with a recipient's answer: the reaction, the event and the mail to pass on, or none of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.queue.store import directory, operators, retention
from serving.queue.store.answers import MOST_IN_A_DAY
from tests.integration.peers import LOOKUP, Store, refusal

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def answer(store: Store, id_: int, digest: str = "01", recipient: bytes = LOOKUP, address: str = "aa") -> str:
    """The state that the command tells."""
    parameters = {
        "id": str(id_), "recipient": recipient.hex(), "address": address, "body": "bb", "digest": digest
    }  # fmt: skip
    (row,) = store.do(lambda transaction: directory.answer(transaction, "answer", parameters))
    return str(row["state"])


def waiting(store: Store) -> list[int]:
    return [row["id"] for row in store.sql("SELECT id FROM notification WHERE stage = 'notice' ORDER BY id")]


class TestAnswers:
    def test_an_answer_is_kept_counted_and_told_in_one_transaction(self, store: Store) -> None:
        """A mail that somebody has answered was seen, whatever becomes of the answer."""
        (id_,) = store.accept().notifications
        state = answer(store, id_)
        (child,) = waiting(store)
        (claimed,) = store.claim("notice")

        assert state == "kept"
        assert store.kinds(id_) == ["accepted", "answered", "acknowledged"]
        assert store.kinds(child) == ["answers"]
        assert (claimed.row["id"], bytes(claimed.body), claimed.principal) == (child, b"\xbb", "")
        assert (bytes(claimed.row["recipient"]), bytes(claimed.row["address"])) == (LOOKUP, b"\xaa")

    def test_what_cannot_be_kept_acknowledges_nothing(self, store: Store) -> None:
        """All of it or nothing: its sender would send it again, and it would have counted."""
        (id_,) = store.accept().notifications

        assert refusal(store, lambda: answer(store, id_, address="aa" * 1_000)) == ("too_large", True)
        assert store.kinds(id_) == ["accepted"]

    def test_the_same_answer_is_kept_once_and_another_one_too(self, store: Store) -> None:
        """A digest tells them apart, and one notification's answers say nothing of another's."""
        first, second = store.accept().notifications[0], store.accept().notifications[0]
        states = [
            answer(store, id_, digest) for id_, digest in ((first, "01"), (first, "01"), (first, "02"), (second, "01"))
        ]

        assert states == ["kept", "known", "kept", "kept"]
        assert store.kinds(first) == ["accepted", "answered", "acknowledged", "answered"]

    def test_only_the_recipient_of_a_senders_mail_answers_it(self, store: Store) -> None:
        """Neither another person, nor anybody a digest, a notice or an answer."""
        (id_,) = store.accept().notifications
        person = {"recipient": LOOKUP.hex(), "address": "aa"}
        parameters = {"about": str(id_), "kind": "asked", "body": "bb", "is_open": True, **person}
        (notice,) = store.do(lambda transaction: directory.answer(transaction, "write_notice", parameters))
        answer(store, id_)
        states = [answer(store, int(each), "02") for each in (notice["id"], waiting(store)[0], 12_345)]

        assert answer(store, id_, "02", recipient=b"e" * 32) == "not_theirs"
        assert states == ["unknown"] * 3
        assert len(waiting(store)) == 1

    def test_a_day_has_so_many_answers_and_the_next_one_again(self, store: Store) -> None:
        """Whoever knows the address must not flood the sender; what was refused is no answer."""
        (id_,) = store.accept().notifications
        states = [answer(store, id_, f"{number:02x}") for number in range(MOST_IN_A_DAY + 1)]
        again = answer(store, id_, "00")
        store.now += DAY
        later = answer(store, id_, f"{MOST_IN_A_DAY:02x}")

        assert states == ["kept"] * MOST_IN_A_DAY + ["too_many"]
        assert (again, later) == ("known", "kept")

    def test_an_answer_that_is_sent_again_begins_where_answers_do(self, store: Store) -> None:
        """As any other mail it would come to its own writer, in the next digest."""
        (id_,) = store.accept().notifications
        answer(store, id_)
        store.complete(store.lease("notice"), "not_passed_on")
        dead = store.sql("SELECT id FROM notification WHERE state = 'dead'")[0]["id"]
        store.do(lambda transaction: operators.replay(transaction, str(dead)))
        (claimed,) = store.claim("notice")

        assert claimed.row["id"] != dead
        assert json.loads(claimed.row["facts"])["answer"] == str(id_)

    def test_an_answer_outlives_what_it_answers(self, store: Store) -> None:
        """The body of the mail may be gone when its recipient comes back; that it was seen is known all the same."""
        (id_,) = store.accept().notifications
        store.do(lambda transaction: operators.kill(transaction, str(id_), "over"))
        store.now += 40 * DAY
        store.do(lambda transaction: retention.forget(transaction, 30 * DAY))
        state = answer(store, id_)
        store.now += 40 * DAY
        store.do(lambda transaction: retention.forget(transaction, 30 * DAY))
        (claimed,) = store.claim("notice")

        assert state == "kept"
        assert store.kinds(id_)[-1] == "acknowledged"
        assert bytes(claimed.body) == b"\xbb"
