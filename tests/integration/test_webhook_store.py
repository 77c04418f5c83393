"""The outbox of webhooks on the real store: what is written down when, listed, and forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.queue.store import credentials, directory, hops, operators, retention, webhooks
from tests.integration.peers import TO_DIGEST, TO_PAYMENT, Store, held, refusal
from tests.integration.webhook_rows import URL, claimed, close, enrol, notifications, rows, sender, tell

__all__ = ["sender"]

ADDRESS = b"a" * 48


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


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
