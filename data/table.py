"""The two tables as parquet files, with the columns of the benchmark: messages and interactions."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
_MAY_BE_EMPTY = ("in_reply_to", "reply_latency_h", "reply_message_id")


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


def count_rows(path: Path) -> int:
    """How many rows a table has, without reading them. Raises BadTable."""
    import pyarrow.parquet as pq

    with _readable(path):
        return int(pq.read_metadata(path).num_rows)


def write_messages(messages: Iterable[Message], path: Path) -> int:
    """Writes a messages table, a few rows in memory at a time; returns how many."""
    return _write(messages, Message, path)


def write_interactions(interactions: Iterable[Interaction], path: Path) -> int:
    """Writes an interactions table; returns how many rows."""
    return _write(interactions, Interaction, path)


def _rows(path: Path, kind: type[Message] | type[Interaction]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    columns = _columns(kind)
    with _readable(path):
        table = pq.read_table(path)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise BadTable(f"{path}: column {', '.join(missing)} is missing; give the columns of data/README.md")
    table = _of_our_types(table.select(columns), path)
    dates = [_seconds(moment, path) for moment in table.column("date_utc").to_pylist()]
    order = sorted(range(len(dates)), key=dates.__getitem__)
    for start in range(0, len(order), _ROWS):
        chunk = order[start : start + _ROWS]
        for at, row in zip(chunk, table.take(chunk).to_pylist(), strict=True):
            del row["date_utc"]
            yield {"date": dates[at], **row}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What pyarrow says of a file that it cannot read, as one line."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise BadTable(f"{path}: there is no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise BadTable(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from None


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


def _of_our_types(table: Any, path: Path) -> Any:
    """The table with the column types of the benchmark, and an empty text or list where there was none."""
    import pyarrow as pa

    types = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "list": pa.list_(pa.large_string())}
    for at, name in enumerate(table.column_names):
        if name == "date_utc":
            continue
        kind = _TYPES.get(name, "text")
        try:
            column = table.column(name).cast(types.get(kind, pa.large_string()))
        except pa.ArrowException:
            raise BadTable(f"{path}: column {name} does not hold {kind}; give the columns of data/README.md") from None
        if column.null_count and name not in _MAY_BE_EMPTY:
            column = _filled(column, name, kind, path)
        table = table.set_column(at, name, column)
    return table


def _filled(column: Any, name: str, kind: str, path: Path) -> Any:
    import pyarrow as pa

    if kind == "text":
        return column.fill_null("")
    if kind == "list":
        return pa.chunked_array([pa.array([value or [] for value in column.to_pylist()], column.type)])
    raise BadTable(f"{path}: column {name} has rows without a value; leave those rows out")


def _seconds(text: str | datetime, path: Path) -> float:
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise BadTable(f"{path}: date_utc must be ISO 8601, e.g. 2024-01-30T00:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _columns(kind: type[Message] | type[Interaction]) -> list[str]:
    return ["date_utc" if field.name == "date" else field.name for field in fields(kind)]
