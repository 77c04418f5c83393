"""The store's verbs on PostgreSQL: the very tests that SQLite passes, and that both have the same schema."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest

from serving.errors import ConfigurationError
from serving.queue.store import directory
from serving.queue.store.database import HERE
from serving.queue.store.postgresql import PostgreSQL
from tests.integration.peers import Store
from tests.integration.test_answer_store import TestAnswers
from tests.integration.test_credentials import TestCredentials
from tests.integration.test_escalation import TestChain, TestPushes, TestWatched
from tests.integration.test_escalation_crashes import TestCrashes
from tests.integration.test_group import TestGroup, grouped
from tests.integration.test_hops import TestHistory, TestHop
from tests.integration.test_operators import (
    TestKill,
    TestReplay,
    test_recipients_with_certificates_are_named_page_by_page,
    test_retry_ends_a_wait,
)
from tests.integration.test_payment_ends import TestBooks, TestEnds
from tests.integration.test_reports_store import TestBounce, TestReport, TestSuppression
from tests.integration.test_resealing_store import TestResealing
from tests.integration.test_retention import TestRetention
from tests.integration.test_store import TestAccept, TestClaim, TestLease
from tests.integration.test_waiting import TestDigest, TestMoneyThatComes, TestWakeThatCrossesParking, TestWaking
from tests.integration.test_webhook_claims import TestWebhookClaim
from tests.integration.test_webhook_store import TestWebhookListing, TestWebhookOutbox
from tests.integration.webhook_rows import claimed, enrol, sender, tell
from tests.interop.postgres import Server
from tests.unit.test_ledger import (
    test_a_key_posts_once,
    test_a_transfer_in_another_currency_is_refused,
    test_an_amount_over_the_limit_is_refused,
    test_the_head_tells_whether_the_end_was_cut_off,
)

__all__ = [
    "TestAccept", "TestAnswers", "TestBooks", "TestBounce", "TestChain", "TestClaim", "TestCrashes",
    "TestCredentials", "TestDigest", "TestEnds", "TestGroup", "TestHistory", "TestHop", "TestKill", "TestLease",
    "TestMoneyThatComes", "TestPushes", "TestReplay", "TestReport", "TestResealing", "TestRetention",
    "TestSuppression", "TestWakeThatCrossesParking", "TestWaking", "TestWatched", "TestWebhookClaim",
    "TestWebhookListing", "TestWebhookOutbox", "grouped", "sender",
    "test_a_key_posts_once",
    "test_a_transfer_in_another_currency_is_refused", "test_an_amount_over_the_limit_is_refused",
    "test_recipients_with_certificates_are_named_page_by_page", "test_retry_ends_a_wait",
    "test_the_head_tells_whether_the_end_was_cut_off",
]  # fmt: skip

Catalogue = dict[str, dict[str, tuple[str, bool]]]
KINDS = {"bigint": "INTEGER", "double precision": "REAL", "bytea": "BLOB", "text": "TEXT"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def make_store(server: Server) -> Iterator[Callable[[], Store]]:
    """New stores, each in a database of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Store(PostgreSQL.open(server.database()))))


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    """In a database of its own."""
    made = Store(PostgreSQL.open(server.database()))
    yield made
    made.close()


def sqlite_catalogue() -> Catalogue:
    """Table → column → kind and whether it must be there, as the script says."""
    script = (HERE / "schema" / "sqlite.sql").read_text(encoding="utf-8")
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\) STRICT", script, re.DOTALL)
    column = re.compile(r"^    (\w+) +(INTEGER|REAL|BLOB|TEXT)\b(.*)$", re.MULTILINE)
    return {
        name: {
            found[0]: (found[1], "NOT NULL" in found[2] or "PRIMARY KEY" in found[2]) for found in column.findall(body)
        }
        for name, body in tables
    }


def test_both_databases_have_one_schema(store: Store) -> None:
    """A column that is only in one of them is a release that only half works."""
    columns = store.sql(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'public'"
    )
    theirs: Catalogue = {}
    for row in columns:
        kind = KINDS[row["data_type"]], row["is_nullable"] == "NO"
        theirs.setdefault(row["table_name"], {})[row["column_name"]] = kind
    del theirs["schema_version"]
    position = theirs["growth"].pop("position")
    ours = sqlite_catalogue()

    assert theirs == ours
    assert len(ours) > 15
    assert position == ("INTEGER", True)


def test_both_databases_have_the_same_indexes(store: Store) -> None:
    """What SQLite finds quickly PostgreSQL must find quickly too."""
    script = (HERE / "schema" / "sqlite.sql").read_text(encoding="utf-8")
    named = {row["indexname"] for row in store.sql("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}

    assert set(re.findall(r"CREATE INDEX (\w+)", script)) <= named


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfer SET currency = 'USD'",
        "DELETE FROM transfer",
        "UPDATE posting SET amount = 0",
        "DELETE FROM posting",
    ],
)
def test_the_database_itself_refuses_to_change_what_was_posted(store: Store, statement: str) -> None:
    """Not even a bug of ours may rewrite the ledger."""
    store.fund(5)

    with pytest.raises(psycopg.Error, match="append-only"):
        store.sql(statement)
    assert [row["amount"] for row in store.sql("SELECT amount FROM posting ORDER BY amount")] == [-5, 5]


def test_a_claim_passes_over_what_another_broker_is_claiming(server: Server) -> None:
    """Two brokers ask at the same moment: neither waits for the other, and nothing is leased twice."""
    url = server.database()
    first, second = Store(PostgreSQL.open(url)), Store(PostgreSQL.open(url))
    (one, two) = first.accept(recipients=2).notifications
    first.database.begin()
    first.sql("SELECT id FROM notification WHERE id = :id FOR UPDATE", id=one)

    claimed = [each.row["id"] for each in second.claim("authentication", 5)]
    first.database.roll_back()
    later = [each.row["id"] for each in second.claim("authentication", 5)]
    first.close()
    second.close()

    assert (claimed, later) == ([two], [one])


def test_a_claim_of_webhooks_passes_over_what_another_broker_is_claiming(server: Server) -> None:
    """Neither waits for the other, nothing is told twice, and a later event waits for an earlier one all the same."""
    url = server.database()
    first, second = Store(PostgreSQL.open(url)), Store(PostgreSQL.open(url))
    enrol(first, "sender")
    (one, two) = first.accept(recipients=2).notifications
    for id_, event in ((one, "delivered"), (one, "bounced"), (two, "delivered")):
        tell(first, id_, event)
    first.database.begin()
    first.sql("SELECT id FROM webhook WHERE notification = :id AND event = 'delivered' FOR UPDATE", id=one)

    during = [event["notification"] for event in claimed(second)]
    first.database.roll_back()
    later = [(event["notification"], event["event"]) for event in claimed(first)]
    first.close()
    second.close()

    assert during == [str(two)]
    assert later == [(str(one), "delivered")]


def test_brokers_that_are_open_at_once_have_different_numbers(server: Server) -> None:
    """Ids are made of them: two brokers must never give out the same id."""
    url = server.database()
    brokers = [PostgreSQL.open(url) for _ in range(3)]
    numbers = [broker.number for broker in brokers]
    brokers[1].close()
    again = PostgreSQL.open(url)

    assert numbers == [0, 1, 2]
    assert again.number == 1
    for broker in (brokers[0], brokers[2], again):
        broker.close()


def test_a_newer_schema_is_left_alone(server: Server) -> None:
    """An older release would not know what it destroys."""
    url = server.database()
    PostgreSQL.open(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE schema_version SET version_num = '99'")
    with pytest.raises(ConfigurationError, match="schema 99"):
        PostgreSQL.open(url)


def catalogue(store: Store) -> set[tuple[str, ...]]:
    """Every column, index and constraint, by what defines it."""
    queries = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'public'",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conname, pg_get_constraintdef(oid) AS means FROM pg_constraint"
        " WHERE connamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')",
    )
    return {tuple(row.values()) for query in queries for row in store.sql(query)}


def test_a_store_of_the_first_schema_here_is_led_to_todays_and_its_keys_still_open(server: Server) -> None:
    """Whoever pulls a newer release keeps the mail that waits, and no sender is locked out."""
    url, new = server.database(), Store(PostgreSQL.open(server.database()))
    PostgreSQL.open(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE bounce, credential, suppression, escalation, webhook")
        connection.execute("ALTER TABLE principal ADD COLUMN key_hash TEXT NOT NULL UNIQUE")
        connection.execute("INSERT INTO principal VALUES ('p', 'Ops', '{}', 1.0, NULL, 'a')")
        connection.execute("INSERT INTO domain VALUES ('ops.example', 'p')")
        connection.execute("UPDATE schema_version SET version_num = '4'")

    led = Store(PostgreSQL.open(url))
    found = led.do(lambda transaction: directory.principal_by_key(transaction, "a"))
    theirs, ours = catalogue(led), catalogue(new)
    led.close()
    new.close()

    assert theirs == ours
    assert [(row["id"], row["domains"], row["expires_at"]) for row in found] == [("p", ["ops.example"], None)]
