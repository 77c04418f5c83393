"""The pipeline's table as a picture; `python -m serving.diagram README.md` draws it into that file."""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import assert_never

from serving.pipeline import (
    ANSWERS,
    DIGEST_ENTRY,
    ENTRY,
    TABLE,
    WATCH,
    Deferred,
    Destination,
    End,
    Parked,
    Stage,
    kind,
)

BEGIN = "<!-- pipeline -->"
FINISH = "<!-- /pipeline -->"


def mermaid() -> str:
    """The table as a Mermaid flowchart (mermaid.js.org), one line an edge, in the table's order."""
    lines = ["flowchart TD", f"    accepted([accepted]) --> {ENTRY}"]
    lines += [f"    {line}" for stage in TABLE for line in _edges(stage)]
    lines += [f"    {Stage.DIGEST} -->|a new notification| {DIGEST_ENTRY}"]
    lines += [f"    {DIGEST_ENTRY} -->|a watch over what is urgent| {WATCH}"]
    lines += [f"    {WATCH} -->|a new notification| {DIGEST_ENTRY}"]
    lines += [f"    answered([answered]) --> {ANSWERS}"]
    lines += [f"    {end}([{end}])" for end in End]
    return "\n".join(lines)


def drawn(text: str) -> str:
    """The text with the picture between its two markers. Raises ValueError where a marker is missing."""
    head, begin, rest = text.partition(BEGIN)
    _, finish, tail = rest.partition(FINISH)
    if not (begin and finish):
        raise ValueError(f"no place for the picture; write {BEGIN} and {FINISH} on lines of their own")
    return f"{head}{BEGIN}\n```mermaid\n{mermaid()}\n```\n{FINISH}{tail}"


def _edges(stage: Stage) -> Iterator[str]:
    """One line for each place that the stage leads to, naming all outcomes that lead there."""
    for destination, outcomes in groupby(TABLE[stage].items(), key=lambda edge: edge[1]):
        yield _edge(stage, ", ".join(kind(outcome) for outcome, _ in outcomes), destination)


def _edge(stage: Stage, outcomes: str, destination: Destination) -> str:
    match destination:
        case Stage() | End():
            return f"{stage} -->|{outcomes}| {destination}"
        case Parked(wakes):
            return f"{stage} -.->|{outcomes}: parked until woken| {wakes}"
        case Deferred(later):
            return f"{stage} -.->|{outcomes}: deferred until its time| {later}"
    assert_never(destination)


def main(arguments: list[str]) -> None:
    """Print the picture, or draw it into the named file."""
    if not arguments:
        print(mermaid())
        return
    path = Path(arguments[0])
    path.write_text(drawn(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
