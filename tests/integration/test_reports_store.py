"""What the store keeps of reports: each is written once, what comes back is written down once, and suppressions end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.queue.store import directory, hops, operators, reports, retention, suppression
from tests.integration.peers import LOOKUP, TO_DIGEST, Store, refusal

MONTH = 30 * 86_400.0
NAMED = [LOOKUP.hex()]
SENDER = (b"s" * 32).hex()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def sent(store: Store) -> str:
    """A notification that a receiver has taken."""
    (id_,) = store.accept().notifications
    store.sql("UPDATE notification SET facts = :facts WHERE id = :id", id=id_, facts='{"receipt":{"code":250}}')
    return str(id_)


def report(store: Store, id_: str, action: str = "failed") -> dict[str, Any]:
    values = {"recipient": SENDER, "address": "aa", "body": "bb"}
    return store.do(lambda t: reports.report(t, id_, action, **values))


def bounce(store: Store, id_: str, action: str = "failed", **values: Any) -> dict[str, Any]:
    values = {"reply": "5.1.1 unknown", "named": NAMED, "suppress_for": MONTH, **values}
    return store.do(lambda t: reports.bounce(t, id_, action, **values))


def waiting(store: Store) -> list[tuple[str, str]]:
    return [(row["id"], row["action"]) for row in store.do(directory.bounces_waiting)]


def suppressed(store: Store) -> list[str]:
    return [row["reason"] for row in store.do(lambda t: directory.suppressed(t, LOOKUP.hex()))]


class TestReport:
    def test_a_report_is_a_mail_of_ours_that_the_history_names(self, store: Store) -> None:
        """The sender finds in GET /v1/notifications that it was told, and we find by what."""
        id_ = sent(store)
        written = report(store, id_)
        (letter,) = store.do(lambda t: directory.notification(t, written["id"]))

        assert written["fresh"]
        assert store.kinds(int(id_)) == ["accepted", "reported"]
        assert letter["stage"] == "encryption"
        assert letter["facts"] == {"waiver": "notice", "notice": "failed", "about": id_, "open": True}

    def test_the_same_report_is_written_once_and_another_beside_it(self, store: Store) -> None:
        """A crash between the report and the outcome writes it again, and so does a key that was forgotten long ago."""
        id_ = sent(store)
        first, again = report(store, id_), report(store, id_)
        store.now += 3 * MONTH
        store.do(lambda t: retention.forget(t, MONTH))
        late, other = report(store, id_), report(store, id_, "delayed")

        assert first["id"] == again["id"] == late["id"]
        assert [again["fresh"], late["fresh"]] == [False, False]
        assert other["fresh"]
        assert store.kinds(int(id_)) == ["accepted", "reported", "reported"]

    def test_there_is_none_about_nothing(self, store: Store) -> None:
        """Refused, and nothing is changed."""
        assert refusal(store, lambda: report(store, "7")) == ("not_found", True)


class TestBounce:
    def test_what_comes_back_is_written_down_once_and_waits_to_be_told(self, store: Store) -> None:
        """Servers send their reports again; the sender is told once."""
        id_ = sent(store)
        first, again = bounce(store, id_), bounce(store, id_)
        told_before = waiting(store)
        report(store, id_)

        assert (first, again) == ({"fresh": True, "suppressed": True}, {"fresh": False, "suppressed": False})
        assert told_before == [(id_, "failed")]
        assert waiting(store) == []
        assert store.kinds(int(id_)) == ["accepted", "bounced", "reported"]

    def test_a_report_that_comes_weeks_later_is_history_and_silences_nobody(self, store: Store) -> None:
        """Where a mail bounces to stands in it for all who ever see it."""
        early, late = sent(store), sent(store)
        facts = json.dumps({"receipt": {"code": 250}, "sending": {"attempt": 1, "at": store.now}})
        store.sql("UPDATE notification SET facts = :facts", facts=facts)
        store.now += 6 * 86_400
        in_time = bounce(store, early)
        store.now += 9 * 86_400

        assert in_time == {"fresh": True, "suppressed": True}
        assert bounce(store, late) == {"fresh": True, "suppressed": False}
        assert store.kinds(int(late)) == ["accepted", "bounced"]

    def test_who_is_not_to_be_told_is_not_asked_for_again(self, store: Store) -> None:
        """Nobody waits for ever in the list."""
        id_ = sent(store)
        bounce(store, id_)
        closed = store.do(lambda t: reports.close_bounce(t, id_, "failed"))

        assert closed == {"closed": True}
        assert waiting(store) == []

    def test_a_delay_is_history_and_a_success_may_be_told(self, store: Store) -> None:
        """Whether the sender wants to hear of the success is written in its mail, which is sealed."""
        id_ = sent(store)
        bounce(store, id_, "delayed", suppress_for=None)
        bounce(store, id_, "delivered", suppress_for=None)

        assert waiting(store) == [(id_, "delivered")]
        assert store.kinds(int(id_)) == ["accepted", "delayed", "confirmed"]
        assert suppressed(store) == []

    def test_what_nobody_has_taken_cannot_come_back(self, store: Store) -> None:
        """Delivery itself will say how it ends."""
        (id_,) = store.accept().notifications

        assert bounce(store, str(id_)) == {"fresh": False, "suppressed": False}
        assert store.kinds(id_) == ["accepted"]

    def test_a_report_about_another_address_suppresses_nobody(self, store: Store) -> None:
        """Whoever the recipient had it forwarded to is gone, not the recipient."""
        id_ = sent(store)
        answer = bounce(store, id_, named=[(b"x" * 32).hex()])

        assert answer == {"fresh": True, "suppressed": False}
        assert suppressed(store) == []
        assert store.sql("SELECT detail FROM event WHERE kind = 'bounced'")[0]["detail"].endswith('"another address"}')

    @pytest.mark.parametrize(("id_", "action", "reason"), [("7", "failed", "not_found"), ("7", "lost", "malformed")])
    def test_what_makes_no_sense_is_refused(self, store: Store, id_: str, action: str, reason: str) -> None:
        """Without a trace."""
        assert refusal(store, lambda: bounce(store, id_, action)) == (reason, True)


class TestSuppression:
    def test_it_ends_by_itself(self, store: Store) -> None:
        """A mailbox that was mended gets mail again."""
        store.do(lambda t: suppression.suppress(t, LOOKUP.hex(), "550 5.1.1 gone", MONTH))
        store.now += MONTH - 1
        before = suppressed(store)
        store.now += 1

        assert before == ["550 5.1.1 gone"]
        assert suppressed(store) == []
        assert store.do(directory.suppressions) == []

    def test_another_refusal_makes_it_longer_unless_it_holds_for_ever(self, store: Store) -> None:
        """What an operator decided is not undone by a server."""
        store.do(lambda t: suppression.suppress(t, LOOKUP.hex(), "first", 60.0))
        store.do(lambda t: suppression.suppress(t, LOOKUP.hex(), "an operator's", None))
        store.do(lambda t: suppression.suppress(t, LOOKUP.hex(), "last", 60.0))
        (row,) = store.do(directory.suppressions)

        assert (row["lookup"], row["reason"], row["until"]) == (LOOKUP.hex(), "an operator's", None)

    def test_it_is_taken_back(self, store: Store) -> None:
        """And says whether there was anything."""
        store.do(lambda t: suppression.suppress(t, LOOKUP.hex(), "x", None))
        answers = [store.do(lambda t: suppression.unsuppress(t, LOOKUP.hex())) for _ in range(2)]

        assert answers == [{"removed": True}, {"removed": False}]
        assert suppressed(store) == []

    def test_all_are_listed_in_pages(self, store: Store) -> None:
        """Ten thousand do not fit one answer."""
        lookups = sorted(bytes([number]) * 32 for number in range(5))
        for lookup in lookups:
            store.do(lambda t, lookup=lookup: suppression.suppress(t, lookup.hex(), "x", None))  # type: ignore[misc]
        first = store.do(lambda t: directory.suppressions(t, limit=3))
        rest = store.do(lambda t: directory.suppressions(t, after=first[-1]["lookup"], limit=3))

        assert [row["lookup"] for row in (*first, *rest)] == [lookup.hex() for lookup in lookups]

    def test_one_that_is_over_is_forgotten_with_all_else(self, store: Store) -> None:
        """The table holds what is in force."""
        store.do(lambda t: suppression.suppress(t, LOOKUP.hex(), "x", 60.0))
        store.do(lambda t: suppression.suppress(t, SENDER, "x", None))
        store.now += 61 + MONTH
        store.do(lambda t: retention.forget(t, MONTH))

        assert [row["reason"] for row in store.sql("SELECT reason FROM suppression")] == ["x"]


class TestGivenUp:
    @pytest.mark.parametrize("how", ["died", "killed"])
    def test_mail_that_dies_elsewhere_than_at_delivery_waits_to_be_told(self, store: Store, how: str) -> None:
        """By SMTP the sender has our 250 and keeps nothing: only we can tell it. What the operator wrote is ours."""
        (id_,) = store.accept().notifications
        if how == "killed":
            store.do(lambda t: operators.kill(t, str(id_), "ada@ops.example"))
        else:
            lease = store.lease("authentication")
            store.do(lambda t: hops.dead(t, lease, "ada@ops.example"))
        (row,) = store.do(directory.bounces_waiting)

        assert (row["id"], row["action"]) == (str(id_), "failed")
        assert row["reply"] == hops.GIVEN_UP[how]

    @pytest.mark.parametrize(("ending", "told"), [("dead", [("failed", hops.GIVEN_UP["digest"])]), ("sent", [])])
    def test_mail_whose_digest_did_not_arrive_waits_to_be_told(
        self, store: Store, ending: str, told: list[tuple[str, str]]
    ) -> None:
        """The digest is ours and has no sender who could be told; what lies in it has."""
        (id_,) = store.accept().notifications
        store.walk(*TO_DIGEST)
        values = {"recipient": LOOKUP.hex(), "address": "aa", "body": "bb", "parents": [str(id_)], "at": 0}
        store.do(lambda t: directory.answer(t, "bundle", values))
        facts = {"envelope": {"form": "sealed"}, "waiver": "digest"}
        store.complete(store.lease("encryption"), "enclosed_free", envelope=b"e", facts=facts)
        outcomes = ("sent", "unbilled") if ending == "sent" else ("undeliverable", "returned")
        store.complete(store.lease("delivery"), outcomes[0], facts={"receipt": {}} if ending == "sent" else {})
        store.complete(store.lease("settlement"), outcomes[1])
        rows = store.do(directory.bounces_waiting)

        assert [(row["action"], row["reply"]) for row in rows if row["id"] == str(id_)] == told
        assert len(rows) == len(told)
