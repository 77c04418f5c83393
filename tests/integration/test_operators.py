"""What an operator does by hand: on the real store, and by the commands against a running broker."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli import app
from serving.errors import ClarionError
from serving.identifiers import format_id
from serving.queue.client import Client
from serving.queue.store import commands, directory, hops, operators
from serving.queue.store.transaction import Transaction
from tests.conftest import BrokerProcess
from tests.integration.peers import TO_PAYMENT, WALLET, Store, held, refusal, submission


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def dead_after_payment(store: Store) -> int:
    """A notification whose money was held, and that delivery gave up."""
    store.fund(20)
    store.accept()
    name = store.walk(*TO_PAYMENT)
    store.complete(store.lease("payment"), "held", facts={"payment": "hold"}, **held(name.id))
    at_delivery = store.lease("delivery")
    store.do(lambda t: hops.dead(t, at_delivery, "refused by the receiver"))
    return name.id


class TestKill:
    def test_what_waits_dies_and_its_money_returns(self, store: Store) -> None:
        """Nobody pays for what an operator took away."""
        store.fund(20)
        store.accept()
        name = store.walk(*TO_PAYMENT)
        store.complete(store.lease("payment"), "held", facts={"payment": "hold"}, **held(name.id))
        before = store.balance(WALLET)
        store.do(lambda t: operators.kill(t, str(name.id), "wrong list"))

        assert store.row(name.id)["state"] == "dead"
        assert (before, store.balance(WALLET), store.balance(f"hold:{name.id}")) == (15, 20, 0)
        assert store.kinds(name.id)[-1] == "killed"

    def test_what_is_worked_on_is_not_touched(self, store: Store) -> None:
        """It may be on its way already."""
        store.accept()
        name = store.lease("authentication")

        assert refusal(store, lambda: store.do(lambda t: operators.kill(t, str(name.id), ""))) == ("not_found", True)


class TestReplay:
    def test_a_dead_letter_is_sent_again_with_money_of_its_own(self, store: Store) -> None:
        """The whole way once more; the dead one stays dead, and is counted once."""
        dead = dead_after_payment(store)
        again = int(store.do(lambda t: operators.replay(t, str(dead)))["id"])
        name = store.walk(*TO_PAYMENT)
        store.complete(store.lease("payment"), "held", facts={"payment": "hold"}, **held(again))

        assert name.id == again != dead
        assert store.row(dead)["state"] == "dead"
        assert json.loads(store.row(dead)["facts"])["replayed"] == str(again)
        assert store.kinds(again)[0] == "replays"
        assert store.row(again)["stage"] == "delivery"
        assert (store.balance(WALLET), store.balance(f"hold:{again}")) == (15, 5)

    def test_it_is_sent_again_once(self, store: Store) -> None:
        """Two operators with the same idea are one more delivery, not two."""
        dead = str(dead_after_payment(store))
        store.do(lambda t: operators.replay(t, dead))

        assert refusal(store, lambda: store.do(lambda t: operators.replay(t, dead))) == ("key_conflict", True)

    def test_only_the_dead_are_sent_again(self, store: Store) -> None:
        """A second copy of what is on its way would be delivered twice."""
        (id_,) = store.accept().notifications

        assert refusal(store, lambda: store.do(lambda t: operators.replay(t, str(id_)))) == ("not_found", True)

    def test_a_repetition_of_the_key_still_answers_with_the_first_ids(self, store: Store) -> None:
        """The sender knows nothing of what an operator does."""
        first = store.accept(key="k")
        store.do(lambda t: operators.kill(t, str(first.notifications[0]), ""))
        store.do(lambda t: operators.replay(t, str(first.notifications[0])))

        assert store.accept(key="k").notifications == first.notifications


def test_retry_ends_a_wait(store: Store) -> None:
    """Whoever mended what was broken need not wait for the next attempt."""
    store.accept()
    name = store.walk(("authentication", "unverified", {}), ("triage", "digested", {"until": store.now + 9_000}))
    before = store.claim("digest")
    store.do(lambda t: operators.retry(t, str(name.id)))

    assert before == []
    assert [each.row["id"] for each in store.claim("digest")] == [name.id]


async def test_the_commands_say_what_they_did(
    broker: BrokerProcess, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words, and as JSON with nothing left out."""
    home = broker.socket.parent
    (home / "run").mkdir()
    (home / "run" / "broker.sock").symlink_to(broker.socket)
    monkeypatch.setenv("CLARION_HOME", str(home))
    accepted = await client.accept(submission(recipients=2))
    first, second = (format_id(id_) for id_ in accepted.notification_ids)

    def command(*words: str) -> str:
        ended = CliRunner().invoke(app, ["queue", *words])
        assert ended.exit_code == 0, ended.output
        return ended.output

    def work() -> None:
        (depth,) = json.loads(command("depths", "--json"))
        assert (depth["stage"], depth["state"], depth["count"]) == ("authentication", "queued", 2)
        assert 0 < depth["age"] < 60
        peeked = json.loads(command("peek", "authentication", "--json"))
        assert [row["id"] for row in peeked] == [first, second]
        assert "sealed" not in command("peek", "authentication")
        assert "dead; " in command("kill", first, "--cause", "asked to")
        (letter,) = json.loads(command("dead", "--json"))
        assert (letter["id"], letter["stage"], letter["detail"]) == (first, "authentication", "asked to")
        assert (letter["cause"], letter["replayed"]) == ("killed", None)
        (again,) = json.loads(command("replay", "--all", "--json"))
        assert again["dead"] == first
        assert json.loads(command("replay", "--all", "--json")) == []
        (letter,) = json.loads(command("dead", "--json"))
        assert letter["replayed"] == again["again"]
        assert "it goes on" in command("retry", second)
        refused = CliRunner().invoke(app, ["queue", "replay", first])
        assert isinstance(refused.exception, ClarionError)
        assert "sent again already" in str(refused.exception)
        assert "name one dead letter" in str(CliRunner().invoke(app, ["queue", "replay"]).exception)

    await asyncio.to_thread(work)


def test_recipients_with_certificates_are_named_page_by_page(store: Store) -> None:
    """Each once, however many there are, and nobody who has none."""
    people = [(bytes([number]) * 32).hex() for number in (0, 7, 127, 128, 255)]
    held = dict.fromkeys(people, "00") | {people[1]: None}

    def enroll_all(t: Transaction) -> None:
        for lookup, certificate in held.items():
            commands.enroll_recipient(t, lookup, "00", certificate, {}, {})

    store.do(enroll_all)
    first = store.do(lambda t: directory.recipients_with_certificates(t, limit=2))
    second = store.do(lambda t: directory.recipients_with_certificates(t, after=first[-1]["lookup"]))

    assert [row["lookup"] for row in (*first, *second)] == [people[0], *people[2:]]
    assert store.do(lambda t: directory.recipients_with_certificates(t, after=second[-1]["lookup"])) == []
