"""The two tables as parquet files, with the columns of the benchmark: messages and interactions."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from data.schema import Interaction, Message

_ROWS = 2_000  # written and read at a time
_TYPES = {
    "body_len": "int64",
    "n_recipients": "int64",
    "reply_latency_h": "float64",
    **dict.fromkeys(("is_automated", "is_patch", "replied", "replied_24h"), "bool"),
    **dict.fromkeys(("to", "cc"), "list"),
}


class BadTable(ValueError):
    """The file is no table of ours; the message says what is wrong with it."""


def read_messages(path: Path) -> Iterator[Message]:
    """The mails of a messages table in order of time. Raises BadTable."""
    for row in _rows(path, Message):
        yield Message(**{**row, "to": tuple(row["to"]), "cc": tuple(row["cc"])})


def read_interactions(path: Path) -> Iterator[Interaction]:
    """The pairs of an interactions table in order of time. Raises BadTable."""
    for row in _rows(path, Interaction):
        yield Interaction(**row)


def write_messages(messages: Iterable[Message], path: Path) -> int:
    """Writes a messages table, a few rows in memory at a time; returns how many."""
    return _write(messages, Message, path)


def write_interactions(interactions: Iterable[Interaction], path: Path) -> int:
    """Writes an interactions table; returns how many rows."""
    return _write(interactions, Interaction, path)


def _rows(path: Path, kind: type[Message] | type[Interaction]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _columns(kind)
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise BadTable(f"{path}: there is no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise BadTable(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from None
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise BadTable(f"{path}: column {', '.join(missing)} is missing; give the columns of data/README.md")
    table = table.select(columns)
    dates = [_seconds(text, path) for text in table.column("date_utc").to_pylist()]
    order = sorted(range(len(dates)), key=dates.__getitem__)
    for start in range(0, len(order), _ROWS):
        chunk = order[start : start + _ROWS]
        for at, row in zip(chunk, table.take(chunk).to_pylist(), strict=True):
            del row["date_utc"]
            yield {"date": dates[at], **row}


def _write(
    values: Iterable[Message] | Iterable[Interaction], kind: type[Message] | type[Interaction], path: Path
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "list": pa.list_(pa.string())}
    schema = pa.schema([(name, types.get(_TYPES.get(name, ""), pa.string())) for name in _columns(kind)])
    rows: Iterator[Message | Interaction] = iter(values)
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while chunk := [_row(value) for value in islice(rows, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
            count += len(chunk)
    return count


def _row(value: Message | Interaction) -> dict[str, Any]:
    row = asdict(value)
    moment = datetime.fromtimestamp(row.pop("date"), UTC)
    return {**row, "date_utc": moment.isoformat(timespec="seconds").replace("+00:00", "Z")}


def _seconds(text: str, path: Path) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise BadTable(f"{path}: date_utc must be ISO 8601, e.g. 2024-01-30T00:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _columns(kind: type[Message] | type[Interaction]) -> list[str]:
    return ["date_utc" if field.name == "date" else field.name for field in fields(kind)]
