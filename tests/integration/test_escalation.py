"""Urgent mail escalates on the real store: each step at its time, once, until somebody acknowledges or all are done."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.escalation.stage import TRIES, TRY_AGAIN, UNKNOWN
from serving.queue.store import hops, operators
from tests.integration.escalating import ADA, CANARY, DAY, GRACE, HEDY, LINKS, LOOKUP, MINUTE, World
from tests.integration.peers import Store, refusal

TIMES = [10, 15, 35, 45, 50, 70]
"""Minutes after delivery at which the steps of CHAIN are taken, two rounds of them."""
STEPS = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def times(world: World, began: float) -> list[float]:
    """Minutes at which steps were taken, in order; pushes of one step that came to nothing count as well."""
    at = [each[0] for each in world.children()] + [each[0] for each in world.pushes]
    return sorted(round((each - began) / MINUTE, 3) for each in at)


class TestChain:
    def test_steps_come_at_their_times_round_by_round_until_the_chain_is_over(self, store: Store) -> None:
        """Nobody acknowledges: everybody was asked, twice, and the sender reads it."""
        world = World(store)
        began = store.now
        id_, watch = world.delivered()
        world.run(DAY)

        assert times(world, began) == TIMES
        assert [each[1] for each in world.children()] == [*map(LOOKUP.address, (GRACE, HEDY, GRACE, HEDY))]
        assert (store.row(watch)["state"], store.row(id_)["state"]) == ("dead", "delivered")
        kinds = [kind for kind, _ in world.told(id_)]
        assert kinds == ["watched", *["escalated"] * 6, "exhausted"]
        assert [(each["round"], each["step"]) for _, each in world.told(id_)[1:-1]] == STEPS
        assert world.told(id_)[1:3] == [
            ("escalated", {"round": 1, "step": 1, "channel": "mail"}),
            ("escalated", {"round": 1, "step": 2, "channel": "apprise:ntfys"}),
        ]
        assert world.told(id_)[1:] == world.told(watch)

    def test_the_end_comes_after_the_first_steps_time(self, store: Store) -> None:
        """The last person has as long as the first had."""
        world = World(store)
        _, watch = world.delivered()
        world.run(80 * MINUTE - 1)
        before = store.row(watch)["state"]
        world.run(1)

        assert (before, store.row(watch)["state"]) == ("parked", "dead")

    @pytest.mark.parametrize("taken", range(7))
    @pytest.mark.parametrize("by_recipient", [True, False])
    def test_an_acknowledgement_ends_it_wherever_it_is(self, store: Store, taken: int, by_recipient: bool) -> None:
        """By the recipient, or by the last person who was asked; nobody is asked after that."""
        world = World(store)
        id_, watch = world.delivered()
        world.run([0, *TIMES][taken] * MINUTE)
        round_, step = (0, 0) if by_recipient or not taken else STEPS[taken - 1]
        is_push = step == 2
        world.react(id_ if (round_, step) == (0, 0) or is_push else world.child(round_, step))
        before = len(world.children()) + len(world.pushes)
        world.run(DAY)

        assert before == taken == len(world.children()) + len(world.pushes)
        assert store.row(watch)["state"] == "delivered"
        step = 0 if is_push else step
        said = {"at": 1_000_000.0 + [0, *TIMES][taken] * MINUTE, "round": round_ if step else 0, "step": step}
        assert world.told(id_)[-1] == world.told(watch)[-1] == ("acknowledged", said)

    def test_an_acknowledgement_is_seen_at_once(self, store: Store) -> None:
        """The watch is woken in the same commit."""
        world = World(store)
        id_, watch = world.delivered()
        world.run(1)
        world.react(id_, "was_urgent")
        woken = store.row(watch)["state"]
        world.run(0)

        assert (woken, store.row(watch)["state"]) == ("queued", "delivered")

    def test_not_urgent_acknowledges_nothing(self, store: Store) -> None:
        """Who says so has seen it, but the next one may still have to know."""
        world = World(store)
        id_, watch = world.delivered()
        world.react(id_, "not_urgent")
        world.run(11 * MINUTE)

        assert store.row(watch)["state"] == "parked"
        assert len(world.children()) == 1

    def test_an_acknowledgement_during_a_step_ends_it_after_that_step(self, store: Store) -> None:
        """It comes while the watch is worked on, which must not put it to sleep."""
        world = World(store)
        id_, watch = world.delivered()
        world.meanwhile = lambda: world.react(id_)
        world.run(10 * MINUTE)

        assert store.row(watch)["state"] == "delivered"
        assert store.kinds(watch)[-2:] == ["escalated", "acknowledged"]

    def test_an_acknowledgement_that_comes_too_late_is_told_all_the_same(self, store: Store) -> None:
        """The sender reads that nobody had it, and then that somebody has."""
        world = World(store)
        id_, watch = world.delivered()
        world.run(DAY)
        for _ in range(2):
            world.react(world.child(2, 3))
        world.react(world.child(1, 1))
        late = [
            row["detail"]
            for row in store.sql("SELECT detail FROM event WHERE kind = 'acknowledged' AND notification = :id", id=id_)
        ]

        assert [json.loads(detail) for detail in late] == [{"at": store.now, "round": 2, "step": 3}]
        assert store.row(watch)["state"] == "dead"

    def test_a_chain_that_is_cleared_ends_the_watch(self, store: Store) -> None:
        """Whoever takes it away wants no more alarms."""
        world = World(store)
        id_, watch = world.delivered()
        world.run(11 * MINUTE)
        world.ask("set_escalation", lookup=LOOKUP.address(ADA).hex(), chain=None)
        world.run(DAY)

        assert len(world.children()) + len(world.pushes) == 1
        assert world.told(id_)[-1] == ("unwatched", {"reason": "there is no chain"})
        assert store.row(watch)["state"] == "discarded"


class TestWatched:
    def test_what_waits_for_money_bothers_nobody(self, store: Store) -> None:
        """And once it is paid and delivered, its time begins."""
        world = World(store)
        id_, watch = world.enclosed()
        until = store.now + 30 * DAY
        store.complete(store.lease("payment"), "unfunded", until=until, facts={"unfunded": {}})
        world.run(DAY)
        waited = (len(world.children()), len(world.pushes), store.row(watch)["state"])
        looks = store.kinds(watch).count("watching")
        store.do(lambda t: operators.retry(t, str(id_)))
        world.to_delivery()
        world.deliver()
        began = store.now
        world.run(DAY)

        assert waited == (0, 0, "parked")
        assert looks < 60
        assert times(world, began) == TIMES

    def test_its_end_wakes_the_watch_at_once(self, store: Store) -> None:
        """The recipient's time runs from there, however rarely it is looked at before."""
        world = World(store)
        _, watch = world.enclosed()
        world.run(1)
        before = store.row(watch)["state"]
        world.to_delivery()
        world.deliver()

        assert (before, store.row(watch)["state"]) == ("parked", "queued")
        assert store.kinds(watch)[-1] == "woken"

    def test_what_nobody_paid_for_is_not_watched_any_more(self, store: Store) -> None:
        """It has expired: its sender is told so already."""
        world = World(store)
        id_, watch = world.enclosed()
        store.complete(store.lease("payment"), "lapsed", facts={"lapsed": {"amount": 5}})
        store.complete(store.lease("notice"), "expired", facts={"expired": None})
        world.run(DAY)

        assert len(world.children()) + len(world.pushes) == 0
        assert world.told(id_)[-1] == ("unwatched", {"reason": "nobody paid for it"})
        assert store.row(watch)["state"] == "discarded"

    def test_what_nobody_paid_for_and_is_digested_is_not_watched_either(self, store: Store) -> None:
        """The recipient gets it some day, by their own wish."""
        world = World(store)
        _, watch = world.enclosed()
        store.complete(store.lease("payment"), "digested", until=store.now + DAY, facts={"triage": {"rule": "unpaid"}})
        world.run(2 * DAY)

        assert len(world.children()) + len(world.pushes) == 0
        assert store.row(watch)["state"] == "discarded"

    def test_what_cannot_be_delivered_goes_to_the_next_at_once(self, store: Store) -> None:
        """The first channel has failed; waiting would be for nothing."""
        world = World(store)
        world.enclosed()
        world.to_delivery()
        store.complete(store.lease("delivery"), "undeliverable", facts={"undeliverable": "550"})
        store.complete(store.lease("settlement"), "returned")
        began = store.now
        world.run(6 * MINUTE)

        assert times(world, began) == [0, 5]

    def test_what_an_operator_gave_up_alarms_nobody(self, store: Store) -> None:
        """A flood that is taken away must not wake the whole chain."""
        world = World(store)
        id_, _ = world.enclosed()
        world.run(1)
        store.do(lambda t: operators.kill(t, str(id_), "a flood"))
        world.run(DAY)

        assert len(world.children()) + len(world.pushes) == 0
        assert world.told(id_)[-1] == ("unwatched", {"reason": "an operator gave it up"})

    def test_a_mail_server_that_is_away_does_not_hold_the_alarm_back(self, store: Store) -> None:
        """Its time runs from when it was paid for."""
        world = World(store)
        world.enclosed()
        world.to_delivery()
        began = store.now
        world.run(16 * MINUTE)

        assert times(world, began) == [10, 15]

    def test_a_persons_mail_that_dies_calls_the_next_at_once(self, store: Store) -> None:
        """Whoever has no mailbox any more acknowledges nothing."""
        world = World(store)
        began = store.now
        world.delivered()
        world.run(11 * MINUTE)
        store.do(lambda t: operators.kill(t, str(world.child(1, 1)), "no such mailbox"))
        world.run(MINUTE)

        assert times(world, began) == [10, 11]

    def test_a_watch_that_is_given_up_is_told_to_the_sender(self, store: Store) -> None:
        """They may rely on it."""
        world = World(store)
        id_, watch = world.delivered()
        world.run(1)
        store.do(lambda t: operators.kill(t, str(watch), "noise"))

        assert world.told(id_) == [
            ("watched", {"watch": str(watch)}), ("unwatched", {"reason": "it was given up"}),
        ]  # fmt: skip
        assert store.row(id_)["state"] == "delivered"

    def test_a_notification_is_watched_once(self, store: Store) -> None:
        """Encryption may be killed after it has begun the watch."""
        world = World(store)
        id_, watch = world.enclosed()
        again = world.ask("watch", about=str(id_))["id"]

        assert int(again) == watch
        assert [kind for kind, _ in world.told(id_)] == ["watched"]
        assert json.loads(store.row(watch)["facts"]) == {"watch": str(id_)}
        assert refusal(store, lambda: world.ask("watch", about="99")) == ("not_found", True)

    def test_the_next_person_gets_the_same_mail_as_a_notification_of_their_own(self, store: Store) -> None:
        """Free, urgent, sealed anew, and with no chain of theirs behind it."""
        world = World(store)
        id_, watch = world.delivered()
        world.run(11 * MINUTE)
        row = store.row(world.child(1, 1))
        bodies = [
            store.sql("SELECT body FROM message WHERE id = :id", id=each["message"])[0]["body"]
            for each in (row, store.row(id_))
        ]

        assert (row["stage"], row["priority"], bytes(row["recipient"])) == (
            "encryption",
            hops.URGENT,
            LOOKUP.address(GRACE),
        )
        assert bodies[0] == bodies[1]
        assert json.loads(row["facts"]) == {
            "waiver": "escalated", "escalated": {"round": 1, "step": 1}, "watched": str(watch),
        }  # fmt: skip

    def test_a_body_that_is_gone_loses_the_step_and_not_the_chain(self, store: Store) -> None:
        """The push behind it comes at once."""
        world = World(store)
        id_, _ = world.delivered()
        began = store.now
        store.sql("UPDATE message SET body = :none WHERE id = :id", none=b"", id=store.row(id_)["message"])
        world.run(11 * MINUTE)

        assert times(world, began) == [10]
        assert world.told(id_)[1] == ("escalated", {"round": 1, "step": 1, "channel": "mail", "failed": True})

    @pytest.mark.parametrize("chain", ["", "00" * ((1 << 15) + 1)])
    def test_a_chain_is_some_octets_of_an_enrolled_recipient(self, store: Store, chain: str) -> None:
        """The store cannot read it; it can see what is none."""
        world = World(store)
        ada = LOOKUP.address(ADA).hex()

        assert refusal(store, lambda: world.ask("set_escalation", lookup=ada, chain=chain)) == ("too_large", True)
        assert refusal(store, lambda: world.ask("set_escalation", lookup="00" * 32, chain="00")) == ("not_found", True)


class TestPushes:
    def test_a_push_that_fails_is_tried_again_and_then_the_next_step_comes_at_once(self, store: Store) -> None:
        """A broken channel costs seconds, not its whole time."""
        world = World(store, results=["failed"] * TRIES)
        id_, _ = world.delivered()
        began = store.now
        world.run(16 * MINUTE)
        pushed = [round(each[0] - began - 15 * MINUTE, 3) for each in world.pushes]

        assert pushed == [number * TRY_AGAIN for number in range(TRIES)]
        assert [each[2]["step"] for each in world.children()] == [1, 3]
        assert ("escalated", {"round": 1, "step": 2, "channel": "apprise:ntfys", "failed": True}) in world.told(id_)

    def test_a_push_that_may_have_been_sent_is_sent_once_more(self, store: Store) -> None:
        """A second alarm is better than none, a third is noise."""
        world = World(store, results=["unknown"] * 5)
        world.delivered()
        world.run(16 * MINUTE)

        assert len(world.pushes) == UNKNOWN

    def test_a_push_holds_nothing_of_the_mail_and_the_link_acknowledges_it(self, store: Store) -> None:
        """It travels over others' servers, in the clear."""
        world = World(store)
        store.sql("INSERT INTO principal (id, name, policy, created_at) VALUES ('bank', 'First Bank', '{}', 0)")
        id_, _ = world.delivered()
        world.run(16 * MINUTE)
        ((_, _, text),) = world.pushes
        token = text.partition("https://gate.example/r/")[2].strip()

        assert text.startswith("Urgent: First Bank has written\nNobody has acknowledged it since 1970-01-12 13:46 UTC.")
        assert CANARY not in text
        assert not [person for person in (ADA, GRACE, HEDY) if person in text]
        assert LINKS.reaction.read(token, store.now + 30 * DAY) == (id_, "acknowledged")

    def test_histories_name_no_address_and_no_url(self, store: Store) -> None:
        """A sender reads them, and an operator; a token in one would be everybody's."""
        world = World(store, results=["failed"])
        world.delivered()
        world.run(DAY)
        rows = store.sql("SELECT detail FROM event") + store.sql("SELECT facts FROM notification")
        text = " ".join(str(dict(row)) for row in rows)

        assert not [word for word in ("secret-topic", "alarms.example", "ops.example", CANARY) if word in text]
