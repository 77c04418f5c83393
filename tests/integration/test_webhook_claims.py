"""Events of webhooks are claimed on the real store: in order within a notification, and by one program at a time."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.queue.store import webhooks
from tests.integration.peers import Store, refusal
from tests.integration.webhook_rows import URL, claimed, close, enrol, notifications, rows, sender, tell

__all__ = ["sender"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


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
