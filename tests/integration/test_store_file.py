"""The store's file: who may open it, what a broker refuses to touch, and what a full disk leaves."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from serving.errors import ConfigurationError
from serving.queue.store import commands, directory, migrating
from serving.queue.store.migrating import NUMBER, VERSION
from serving.queue.store.sqlite import SQLite
from tests.integration.peers import Store

SQL = Path(commands.__file__).parent
SCANS_A_TABLE = re.compile(r"SCAN (?!nth\b|CONSTANT ROW|.*VIRTUAL TABLE|due\b|measured\b|\(subquery)")
"""The others are the parameters themselves, or what was just found by an index."""


def schema(connection: sqlite3.Connection) -> tuple[set[tuple[str, str]], int, str]:
    """Tables, indexes and triggers, whatever order they were made in, and the schema's number, in both places."""
    found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    definitions = {(row["name"], re.sub(r"IF NOT EXISTS |\s+", " ", row["sql"])) for row in found}
    (number,) = connection.execute(NUMBER).fetchone()
    return definitions, connection.execute("PRAGMA user_version").fetchone()[0], number


def aged(path: Path, to: int) -> sqlite3.Connection:
    """A store as a release of that schema left it: without what came later, and without today's table of numbers."""
    connection = SQLite.open(path).connection
    later = {
        6: """
            DROP TABLE bounce; DROP TABLE suppression;
            DROP TABLE escalation;
            DROP TABLE webhook;
            UPDATE schema_version SET version_num = '5';
        """,
        5: """
            PRAGMA foreign_keys = OFF;
            CREATE TABLE present AS SELECT * FROM principal;
            DROP TABLE principal;
            CREATE TABLE principal (
                id         TEXT PRIMARY KEY,
                name       TEXT NOT NULL,
                key_hash   TEXT NOT NULL UNIQUE,
                policy     TEXT NOT NULL,
                created_at REAL NOT NULL,
                revoked_at REAL
            ) STRICT;
            INSERT INTO principal
            SELECT id, present.name, credential.name, policy, present.created_at, revoked_at
            FROM present JOIN credential ON principal = id;
            DROP TABLE credential;
            DROP TABLE present;
            UPDATE schema_version SET version_num = '4';
        """,
        4: "DROP INDEX message_kept; DROP INDEX idempotency_at; DROP TABLE schema_version",
        3: "",
        2: "DROP TABLE personal_offset",
    }
    for number in range(int(VERSION), to, -1):
        connection.executescript(later[number])
    connection.execute(f"PRAGMA user_version = {to}")
    return connection


class TestFile:
    def test_nobody_else_may_read_it(self, tmp_path: Path) -> None:
        """Ids, times and amounts are not sealed."""
        SQLite.open(tmp_path / "store").connection.close()

        assert (tmp_path / "store").stat().st_mode & 0o077 == 0

    def test_a_newer_schema_is_left_alone(self, tmp_path: Path) -> None:
        """An older release would not know what it destroys."""
        connection = SQLite.open(tmp_path / "store").connection
        connection.execute("UPDATE schema_version SET version_num = ?", (str(int(VERSION) + 1),))
        connection.close()

        with pytest.raises(ConfigurationError, match=f"schema {int(VERSION) + 1}"):
            SQLite.open(tmp_path / "store")

    @pytest.mark.parametrize("number", range(1, int(VERSION)))
    def test_a_store_of_an_older_schema_is_led_to_todays(self, tmp_path: Path, number: int) -> None:
        """Whoever pulls a newer release keeps the mail that waits, whichever release they come from."""
        new = schema(SQLite.open(tmp_path / "new").connection)
        aged(tmp_path / "old", number).close()

        assert schema(SQLite.open(tmp_path / "old").connection) == new

    def test_a_step_that_fails_leaves_the_store_as_it_was(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Half a schema would fit no release at all: the first step must not stay where the second fails."""
        aged(tmp_path / "old", 1).close()
        before = (tmp_path / "old").read_bytes()
        apply = migrating.apply

        def fail_at_the_last(number: str) -> None:
            apply(number)
            if number == VERSION:
                raise sqlite3.OperationalError("no space is left")

        with monkeypatch.context() as patched:
            patched.setattr(migrating, "apply", fail_at_the_last)
            with pytest.raises((ConfigurationError, sqlite3.Error), match="no space is left"):
                SQLite.open(tmp_path / "old")
        with closing(sqlite3.connect(tmp_path / "old")) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}

        assert "personal_offset" not in tables
        assert before
        assert schema(SQLite.open(tmp_path / "old").connection)[2] == VERSION

    def test_a_reaction_to_a_mail_of_the_second_schema_still_counts(self, tmp_path: Path) -> None:
        """What was named without an end goes on without one; mail waits for its reader while the release comes."""
        store = Store(tmp_path / "store")
        (id_,) = store.accept().notifications
        named = [bytes([number]) * 31 + b"k" for number in (0, 10, 127, 128, 200, 255)]
        store.connection.execute("UPDATE notification SET reaction = ?", (b"".join(named),))
        store.close()
        aged(tmp_path / "store", 2).close()

        migrated = Store(tmp_path / "store")
        migrated.do(lambda transaction: commands.react(transaction, str(id_), "acknowledged", 4e9))

        rows = migrated.do(lambda transaction: directory.counters(transaction, [key.hex() for key in named]))
        assert [row["count"] for row in rows] == [1] * 6

    def test_every_schema_since_the_first_has_a_revision(self) -> None:
        """A schema that changes under the same number breaks the stores that are there."""
        revisions = {path.stem for path in (SQL / "migrations" / "versions").glob("schema_*.py")}
        scripts = {int(path.stem) for path in (SQL / "migrations" / "sqlite").glob("*.sql")}

        assert revisions == {f"schema_{number}" for number in range(1, int(VERSION) + 1)}
        assert scripts == set(range(2, int(VERSION) + 1))
        for dialect in ("sqlite", "postgresql"):
            script = (SQL / "schema" / f"{dialect}.sql").read_text(encoding="utf-8")
            assert script.count(f"('{VERSION}')") == 1

    @pytest.mark.parametrize("content", [b"no database" * 400, b"SQLite format 3\0" + b"\xff" * 4096])
    def test_a_file_that_is_no_store_is_not_touched(self, tmp_path: Path, content: bytes) -> None:
        """A wrong path must not cost somebody's file."""
        (tmp_path / "store").write_bytes(content)

        with pytest.raises(ConfigurationError, match="cannot be opened"):
            SQLite.open(tmp_path / "store")
        assert (tmp_path / "store").read_bytes() == content

    def test_a_store_has_one_broker(self, tmp_path: Path) -> None:
        """Two would hand out the same lease twice."""
        SQLite.open(tmp_path / "store", alone=True)

        with pytest.raises(ConfigurationError, match="another broker"):
            SQLite.open(tmp_path / "store", alone=True)

    def test_no_statement_that_runs_all_the_time_scans_a_table(self, tmp_path: Path) -> None:
        """With a million notifications behind it the queue must be as quick as on its first day."""
        connection = SQLite.open(tmp_path / "store").connection
        scans: dict[str, str] = {}
        for path in sorted((SQL / "sql").glob("*.sql")):
            names = dict.fromkeys(re.findall(r":(\w+)", path.read_text()))
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {path.read_text()}", names)]
            scans.update((path.stem, step) for step in plan if SCANS_A_TABLE.match(step))

        by_hand = {"accounts", "credentials", "depths", "transfers"}
        when_opened = {"last_clearing", "money_kept", "other_currency"}
        sealed = {"address", "body", "certificate", "counts", "envelope", "escalation", "recipient"}
        counted = {"lists_counts", "results_counts"}
        rotating = {f"sealed_{each}" for each in sealed | counted}  # by hand too, a page at a time
        assert scans.pop("webhook_senders") == "SCAN sender"  # what it has just found by an index
        assert scans.keys() == by_hand | when_opened | rotating | {
            "bounces_waiting",
            "chain_head",
            "owners",
            "release_expired",
        }

        assert "notification_leased" in scans["release_expired"]
        assert "notification_leased" in scans["owners"]
        assert "bounce_waiting" in scans["bounces_waiting"]


def test_a_commit_that_meets_a_full_disk_keeps_what_was_accepted(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for the disk: the write fails in the middle of a transaction."""
    script = """
import resource, sys
from pathlib import Path
from tests.integration.peers import Store
store = Store(Path(sys.argv[1]))
store.accept()
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    for _ in range(2000):
        store.accept()
except Exception as error:
    print(type(error).__name__)
"""
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")], capture_output=True, text=True, timeout=60
    )
    connection = SQLite.open(tmp_path / "store").connection
    (count,) = connection.execute("SELECT count(*) FROM notification").fetchone()
    (check,) = connection.execute("PRAGMA integrity_check").fetchone()

    assert answer.stdout.strip() == sqlite3.OperationalError.__name__
    assert count >= 1
    assert check == "ok"
