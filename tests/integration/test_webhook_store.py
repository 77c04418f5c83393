"""The outbox of webhooks on the real store: what is written down when, claimed in which order, and forgotten."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.queue.store import credentials, directory, hops, operators, retention, webhooks
from tests.integration.peers import TO_DIGEST, TO_PAYMENT, Store, held, refusal

URL = "https://hooks.example/"
ADDRESS = b"a" * 48


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def sender(store: Store) -> Store:
    """The store, whose sender has a webhook."""
    enrol(store, "sender")
    return store


def enrol(store: Store, principal: str, url: str = URL) -> None:
    store.do(lambda t: credentials.enroll_principal(t, principal, "Ops", [], {"pays": "nobody"}))
    if url:
        store.do(lambda t: webhooks.set_webhook(t, principal, url))


def tell(store: Store, notification: int, event: str = "delivered") -> None:
    store.do(lambda t: webhooks.tell(t, notification, event, "captured"))


def claimed(store: Store, count: int = 100, each: int = 100, **values: Any) -> list[dict[str, Any]]:
    values = {"lease": 60.0, "busy": {}, **values}
    answer = store.do(lambda t: webhooks.claim_webhooks(t, count, each, **values))
    events: list[dict[str, Any]] = answer["events"]
    return events


def close(store: Store, event: dict[str, Any], state: str = "told", delay: float = 0.0) -> bool:
    closing = (event["id"], event["attempt"], state, "status 1")
    return bool(store.do(lambda t: webhooks.close_webhook(t, *closing, delay))["closed"])


def rows(store: Store) -> list[tuple[str, str, str]]:
    found = store.sql("SELECT notification, event, reason, state FROM webhook ORDER BY id")
    return [(row["event"], row["reason"], row["state"]) for row in found]


def notifications(store: Store, count: int) -> list[int]:
    return list(store.accept(recipients=count).notifications)


class TestWebhookOutbox:
    def test_every_way_to_an_end_is_written_down_with_it(self, sender: Store) -> None:
        """Delivered, given up by a stage and by an operator, proven forged: what is final is told."""
        sender.fund(20)
        sender.accept()
        name = sender.walk(*TO_PAYMENT)
        sender.complete(sender.lease("payment"), "held", facts={"payment": "hold"}, **held(name.id))
        sender.complete(sender.lease("delivery"), "undeliverable", facts={"undeliverable": "x"})
        before = rows(sender)
        sender.complete(sender.lease("settlement"), "returned")
        for outcome in ("forged", "dead", "killed"):
            (id_,) = notifications(sender, 1)
            if outcome == "killed":
                sender.do(lambda t, id_=id_: operators.kill(t, str(id_), "ada@ops.example"))  # type: ignore[misc]
            elif outcome == "forged":
                sender.complete(sender.lease("authentication"), outcome)
            else:
                lease = sender.lease("authentication")
                sender.do(lambda t, lease=lease: hops.dead(t, lease, "ada@ops.example"))  # type: ignore[misc]

        assert before == []
        assert rows(sender) == [
            ("dead", "returned", "waiting"),
            ("rejected", "forged", "waiting"),
            ("dead", "died", "waiting"),
            ("dead", "killed", "waiting"),
        ]
        assert "ada@" not in str(claimed(sender))

    @pytest.mark.parametrize("ending", ["delivered", "dead"])
    def test_what_lies_in_a_digest_ends_with_it_and_the_digest_is_nobodys(self, sender: Store, ending: str) -> None:
        """The sender's notification ended; that the mail was ours is none of its affairs, only which."""
        (id_,) = sender.accept().notifications
        sender.walk(*TO_DIGEST)
        recipient = bytes(sender.row(id_)["recipient"])
        via = sender.do(
            lambda t: directory.answer(
                t,
                "bundle",
                {"recipient": recipient.hex(), "address": ADDRESS.hex(), "body": "00", "parents": [str(id_)], "at": 0},
            )
        )[0]["via"]
        if ending == "dead":
            lease = sender.lease("encryption")
            sender.do(lambda t: hops.dead(t, lease, "no"))
        else:
            facts = {"envelope": {"form": "sealed"}, "waiver": "digest"}
            sender.complete(sender.lease("encryption"), "enclosed_free", envelope=b"e", facts=facts)
            sender.complete(sender.lease("delivery"), "sent", facts={"receipt": {}})
            sender.complete(sender.lease("settlement"), "unbilled")
        (event,) = claimed(sender)

        assert (event["event"], event["reason"], event["via"]) == (ending, "digest", via)
        assert event["notification"] == str(id_)

    def test_a_sender_without_a_webhook_leaves_no_row(self, store: Store) -> None:
        """Nor does one that is not registered, or revoked."""
        tell(store, notifications(store, 1)[0])
        enrol(store, "sender", url="")
        tell(store, notifications(store, 1)[0])
        store.do(lambda t: webhooks.set_webhook(t, "sender", URL))
        tell(store, notifications(store, 1)[0])
        one = rows(store)
        store.do(lambda t: credentials.revoke_principal(t, "sender"))
        tell(store, notifications(store, 1)[0])

        assert len(one) == 1
        assert rows(store) == [("delivered", "captured", "given_up")]

    def test_a_hop_that_is_refused_tells_nobody(self, sender: Store) -> None:
        """What did not happen is not told."""
        sender.accept()
        sender.walk(*TO_PAYMENT)
        lease = sender.lease("payment")

        assert refusal(sender, lambda: sender.complete(lease, "delivered"))[1]
        assert rows(sender) == []

    def test_what_was_sent_again_names_what_it_stands_for(self, sender: Store) -> None:
        """The sender knows the ids that it was given, and no others."""
        ids = [str(notifications(sender, 1)[0])]
        for _ in range(2):
            sender.do(lambda t: operators.kill(t, ids[-1], ""))
            ids.append(sender.do(lambda t: operators.replay(t, ids[-1]))["id"])
        tell(sender, int(ids[-1]))

        assert {event["notification"]: event["replays"] for event in claimed(sender)} == dict(
            zip(ids, [None, *ids], strict=False)
        )

    def test_told_and_given_up_are_forgotten_with_the_bodies_and_what_waits_is_not(self, sender: Store) -> None:
        """It holds nothing of the mail, but nothing is kept for ever."""
        for id_, state in zip(notifications(sender, 3), ("told", "given_up", "waiting"), strict=True):
            tell(sender, id_)
            close(sender, claimed(sender)[0], state, 1e9)
        sender.do(lambda t: retention.forget(t, 86_400.0))
        early = len(rows(sender))
        sender.now += 90_000.0
        sender.do(lambda t: retention.forget(t, 86_400.0))

        assert early == 3
        assert [state for _, _, state in rows(sender)] == ["waiting"]


class TestWebhookClaim:
    def test_an_event_waits_for_the_one_before_it_and_for_no_other_notifications(self, sender: Store) -> None:
        """ "bounced" before "delivered" would be read as delivered."""
        first, second = notifications(sender, 2)
        for id_, event in ((first, "delivered"), (first, "bounced"), (second, "delivered"), (first, "late")):
            tell(sender, id_, event)
        one = claimed(sender)
        close(sender, one[0], "waiting", 10.0)
        blocked = claimed(sender)
        sender.now += 11
        (again,) = claimed(sender)
        close(sender, again, "given_up")
        (bounced,) = claimed(sender)
        close(sender, bounced)
        (late,) = claimed(sender)

        assert [event["notification"] for event in one] == [str(first), str(second)]
        assert blocked == []
        assert (again["event"], again["attempt"], again["id"]) == ("delivered", 2, one[0]["id"])
        assert (bounced["event"], late["event"]) == ("bounced", "late")

    def test_two_programs_never_have_one_event(self, sender: Store) -> None:
        """Until the lease of the one that went away is over; its late answer is then nobody's."""
        tell(sender, notifications(sender, 1)[0])
        (event,) = claimed(sender)
        other = claimed(sender)
        sender.now += 61
        (again,) = claimed(sender)

        assert other == []
        assert (again["id"], again["attempt"]) == (event["id"], 2)
        assert not close(sender, event, "given_up")
        assert close(sender, again)
        assert not close(sender, again)

    def test_each_sender_gets_its_share_and_who_is_busy_gets_less(self, store: Store) -> None:
        """A dead receiver's backlog takes nobody else's turn."""
        for principal in ("a", "b", "sender"):
            enrol(store, principal)
        for id_ in notifications(store, 5):
            tell(store, id_)
        for principal in ("a", "b"):
            (id_,) = notifications(store, 1)
            store.sql("UPDATE message SET principal = :p WHERE id = :id", p=principal, id=store.row(id_)["message"])
            tell(store, id_)
        who = [event["principal"] for event in claimed(store, each=2, busy={"b": 2}, after="a")]
        rest = [event["principal"] for event in claimed(store, count=2, each=9, after="sender")]

        assert who == ["sender", "sender", "a"]
        assert rest == ["b", "sender"]

    def test_a_receiver_that_is_gone_hears_nothing_until_somebody_says_so(self, sender: Store) -> None:
        """410 is its owner's wish; what happens meanwhile is kept, to be sent again if they change their mind."""
        first, second, third = notifications(sender, 3)
        tell(sender, first)
        tell(sender, second)
        close(sender, claimed(sender, count=1)[0], "gone")
        tell(sender, third)
        states = [state for _, _, state in rows(sender)]
        gone = sender.do(lambda t: webhooks.webhook(t, "sender"))[0]
        refused = refusal(sender, lambda: sender.do(lambda t: webhooks.replay_webhooks(t, str(first))))
        sender.do(lambda t: webhooks.set_webhook(t, "sender", URL))
        count = sender.do(lambda t: webhooks.replay_webhooks(t, principal="sender"))["count"]

        assert states == ["given_up"] * 3
        assert (gone["gone_at"], refused) == (sender.now, ("incomplete", True))
        assert count == len(claimed(sender)) == 3

    def test_what_is_sent_again_keeps_its_id_and_its_order(self, sender: Store) -> None:
        """Its receiver knows what it has already."""
        (id_, other) = notifications(sender, 2)
        for event in ("delivered", "bounced"):
            tell(sender, id_, event)
            close(sender, claimed(sender)[0])
        tell(sender, other)
        close(sender, claimed(sender)[0], "given_up")
        count = sender.do(lambda t: webhooks.replay_webhooks(t, str(id_)))["count"]
        (first,) = claimed(sender)
        close(sender, first)
        (second,) = claimed(sender)

        assert count == 2
        assert [first["event"], second["event"]] == ["delivered", "bounced"]
        assert int(first["id"]) < int(second["id"])

    def test_a_sender_is_told_again_since_a_time(self, sender: Store) -> None:
        """A receiver that lost its database names when."""
        for _ in range(3):
            tell(sender, notifications(sender, 1)[0])
            close(sender, claimed(sender)[0])
            sender.now += 100
        since = sender.now - 150

        assert sender.do(lambda t: webhooks.replay_webhooks(t, principal="sender", since=since))["count"] == 1

    def test_no_secret_comes_back(self, sender: Store) -> None:
        """The version only grows: over a removal too, which may have been for a leak."""
        versions = [sender.do(lambda t: webhooks.rotate_webhook(t, "sender"))["version"]]
        sender.do(lambda t: webhooks.remove_webhook(t, "sender"))
        gone = refusal(sender, lambda: sender.do(lambda t: webhooks.rotate_webhook(t, "sender")))
        answers = [sender.do(lambda t: webhooks.set_webhook(t, "sender", URL)) for _ in range(2)]
        policy = json.loads(sender.sql("SELECT policy FROM principal")[0]["policy"])

        assert versions == [2]
        assert gone == ("not_found", True)
        assert answers == [{"version": 3, "fresh": True}, {"version": 3, "fresh": False}]
        assert policy == {"pays": "nobody", "webhook": {"version": 3, "url": URL}}

    def test_a_removal_gives_up_what_waits_even_what_was_written_at_that_moment(self, sender: Store) -> None:
        """Nothing is sent where nobody wants it any more, and nothing stays for ever."""
        first, second = notifications(sender, 2)
        tell(sender, first)
        given_up = sender.do(lambda t: webhooks.remove_webhook(t, "sender"))["given_up"]
        sender.do(lambda t: webhooks.set_webhook(t, "sender", URL))
        tell(sender, second)
        sender.sql("UPDATE principal SET policy = :none", none="{}")
        none = claimed(sender)

        assert (given_up, none) == (1, [])
        assert [state for _, _, state in rows(sender)] == ["given_up", "given_up"]


class TestWebhookListing:
    def test_events_are_listed_page_by_page_the_last_first(self, sender: Store) -> None:
        """What an operator looks at when a sender says that it heard nothing."""
        ids = notifications(sender, 5)
        for id_ in ids:
            tell(sender, id_)
        close(sender, claimed(sender)[0])
        page = sender.do(lambda t: directory.webhook_events(t, "sender", limit=3))
        rest = sender.do(lambda t: directory.webhook_events(t, "sender", before=int(page[-1]["id"])))
        told = sender.do(lambda t: directory.webhook_events(t, "sender", "told"))
        (stated,) = sender.do(lambda t: webhooks.webhook(t, "sender"))

        assert [row["notification"] for row in (*page, *rest)] == [str(id_) for id_ in reversed(ids)]
        assert [(row["notification"], row["reply"], row["attempt"]) for row in told] == [(str(ids[0]), "status 1", 1)]
        assert (stated["waiting"], stated["told"], stated["given_up"]) == (4, 1, 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(0, 2)),
        st.tuples(st.just("claim"), st.integers(1, 4)),
        st.tuples(st.sampled_from(["told", "given_up", "waiting", "late"]), st.integers(0, 9)),
        st.tuples(st.just("time"), st.integers(1, 70)),
        st.tuples(st.just("replay"), st.integers(0, 2)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_nothing_overtakes_within_a_notification_and_nothing_is_lost(
    tmp_path: Path, steps: list[tuple[str, int]]
) -> None:
    """Whatever fails, is lost on the way, comes late or is sent again."""
    store = Store(tmp_path / f"{len(list(tmp_path.iterdir()))}")
    enrol(store, "sender")
    ids, open_, made = notifications(store, 3), [], 0
    for kind, number in [*steps, *[("claim", 99), ("told all", 0), ("time", 61)] * 12]:
        if kind == "tell":
            tell(store, ids[number])
            made += 1
        elif kind == "time":
            store.now += number
        elif kind == "replay":
            store.do(lambda t, number=number: webhooks.replay_webhooks(t, str(ids[number])))  # type: ignore[misc]
        elif kind == "claim":
            for event in claimed(store, number):
                earlier = store.sql(
                    "SELECT id FROM webhook WHERE notification = :n AND id < :id AND state = 'waiting'",
                    n=int(event["notification"]),
                    id=int(event["id"]),
                )
                assert earlier == []
                open_.append(event)
        elif kind == "told all":
            while open_:
                close(store, open_.pop(0))
        elif open_:
            event = open_.pop(number % len(open_))
            close(store, event, "told" if kind == "late" else kind, 5.0 if kind == "waiting" else 0.0)
    ended = rows(store)
    store.close()

    assert len(ended) == made
    assert {state for _, _, state in ended} <= {"told", "given_up"}
