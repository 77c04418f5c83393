"""The auxiliary tasks: how severe a report was found by people, and whether a sentence asks for something.

From `severity/` beside the benchmark's tables. Bugzilla's default, "normal", is left out. Jira's, "Major", is not: it
counts as severe. Many such rows nobody judged, and yet without them the encoder hears less of a notice's words
(experiments/README.md, "2026-11-25, the champion from nothing").
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.table import BadTable

TASKS = ("severity", "request")

_SEVERE = frozenset({"blocker", "critical", "major", "s1", "s2", "p1"})
_MINOR = frozenset({"trivial", "minor", "enhancement", "s4", "p4", "p5"})


@dataclass(frozen=True, slots=True)
class Asides:
    """Aligned columns: a text, which of TASKS it belongs to, and that task's answer, 0 or 1."""

    texts: tuple[str, ...]
    tasks: tuple[int, ...]
    answers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)


def read_asides(folder: Path) -> Asides:
    """Everything that the folder's three tables say. Raises BadTable."""
    rows = [*_severities(folder), *_requests(folder)]
    texts, tasks, answers = zip(*rows, strict=True)
    return Asides(texts, tasks, answers)


def no_asides() -> Asides:
    """For a run without auxiliary tasks."""
    return Asides((), (), ())


def _severities(folder: Path) -> Iterator[tuple[str, int, int]]:
    for file, text, column in (
        ("bugs_severity_bookinus.parquet", "summary", "severity"),
        ("bugs_priority_gitbugs.parquet", "Summary", "Priority"),
    ):
        for row in _rows(folder / file, (text, column)):
            level = row[column].lower()
            if row[text] and level in _SEVERE | _MINOR:
                yield row[text], TASKS.index("severity"), int(level in _SEVERE)


def _requests(folder: Path) -> Iterator[tuple[str, int, int]]:
    for row in _rows(folder / "parakweet_intent.parquet", ("text", "label")):
        if row["text"]:
            yield row["text"], TASKS.index("request"), int(row["label"] == "Yes")


def _rows(path: Path, columns: Sequence[str]) -> Iterator[Mapping[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise BadTable(f'{path}: {str(error).splitlines()[0]}; set asides = "" to train without it') from None
    for row in table.to_pylist():
        yield {name: str(row[name] or "") for name in columns}
