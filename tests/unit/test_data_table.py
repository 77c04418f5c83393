"""The tables as files: what is written is what is read, and what is broken is said."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.parse import parse
from data.schema import Interaction
from data.table import BadTable, read_interactions, read_messages, write_interactions, write_messages

MAIL = replace(
    parse(b"From: A <a@b.example>\nTo: c@d.example\nSubject: s\nMessage-ID: <1@b>\n\nwords"), date=1_700_000_000.0
)
PAIR = Interaction("l", "1", "r@x", "r", "to", 1_700_000_000.0, 2, True, False, 30.5, "2", "s@x", "s", "t", False, True)


def test_messages_come_back_in_order_of_time(tmp_path: Path) -> None:
    """History is a fold over time; a file may be in any order."""
    path = tmp_path / "m.parquet"
    later = replace(MAIL, message_id="2", date=MAIL.date + 60, in_reply_to="1")

    assert write_messages(iter([later, MAIL]), path) == 2
    assert list(read_messages(path)) == [MAIL, later]


def test_interactions_come_back(tmp_path: Path) -> None:
    """A missing latency must stay missing."""
    path = tmp_path / "i.parquet"
    silent = replace(PAIR, message_id="3", replied=False, reply_latency_h=None, reply_message_id=None)

    write_interactions([PAIR, silent], path)

    assert list(read_interactions(path)) == [PAIR, silent]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """Whoever brings a table of their own must learn what it lacks."""
    path = tmp_path / "m.parquet"
    write_messages([MAIL], path)
    pq.write_table(pq.read_table(path).drop_columns(["subject"]), path)

    with pytest.raises(BadTable, match="subject is missing"):
        list(read_messages(path))


@pytest.mark.parametrize("octets", [b"", b"PAR1 no parquet PAR1", b"From: a@b.example\n\nwords"])
def test_a_corrupt_file_is_one_line(tmp_path: Path, octets: bytes) -> None:
    """A traceback of a file format helps nobody."""
    path = tmp_path / "m.parquet"
    path.write_bytes(octets)

    with pytest.raises(BadTable, match="not a readable parquet file") as raised:
        list(read_messages(path))
    assert "\n" not in str(raised.value)


def test_a_date_that_is_none_is_said(tmp_path: Path) -> None:
    """Guessing a time would break the order that causality rests on."""
    import pyarrow as pa

    path = tmp_path / "m.parquet"
    write_messages([MAIL], path)
    table = pq.read_table(path)
    at = table.schema.get_field_index("date_utc")
    pq.write_table(table.set_column(at, "date_utc", pa.array(["last week"])), path)

    with pytest.raises(BadTable, match="date_utc"):
        list(read_messages(path))


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    """A table made elsewhere may hold words where we count."""
    path = tmp_path / "m.parquet"
    write_messages([MAIL], path)
    table = pq.read_table(path)
    at = table.column_names.index("body_len")
    pq.write_table(table.set_column(at, "body_len", pa.array(["long"])), path)

    with pytest.raises(BadTable, match="column body_len does not hold int64"):
        list(read_messages(path))


def test_what_is_empty_is_empty_and_a_date_may_be_a_time(tmp_path: Path) -> None:
    """Other writers leave a mail's missing Cc or name as null, and store times as such."""
    path = tmp_path / "m.parquet"
    write_messages([MAIL], path)
    table = pq.read_table(path)
    for name, column in {
        "cc": pa.array([None], pa.list_(pa.string())),
        "sender_name": pa.array([None], pa.string()),
        "date_utc": pa.array([datetime.fromtimestamp(MAIL.date, UTC)], pa.timestamp("us", "UTC")),
    }.items():
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, path)

    assert list(read_messages(path)) == [replace(MAIL, cc=(), sender_name="")]


def test_a_label_without_a_value_is_said(tmp_path: Path) -> None:
    """Taking it for silence would invent an answer."""
    path = tmp_path / "i.parquet"
    write_interactions([PAIR], path)
    table = pq.read_table(path)
    at = table.column_names.index("replied")
    pq.write_table(table.set_column(at, "replied", pa.array([None], pa.bool_())), path)

    with pytest.raises(BadTable, match="column replied has rows without a value"):
        list(read_interactions(path))
