"""Repeats that take turns, so that a noisy minute hits everybody; medians with the least and the most beside them."""

import statistics
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tqdm.auto import tqdm  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Measured:
    """The repeats in the order in which they were run, all of one unit."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """What is quoted."""
        return statistics.median(self.values)

    def report(self) -> dict[str, object]:
        """For the report: the raw repeats stay."""
        return {"median": self.median, "min": min(self.values), "max": max(self.values), "repeats": list(self.values)}


def interleaved(cases: Mapping[str, Callable[[], float]], repeats: int, what: str) -> dict[str, Measured]:
    """Each case once, then each again, `repeats` times, another first in each round; the first warms up and is thrown
    away."""
    values: dict[str, list[float]] = {name: [] for name in cases}
    order = deque(cases.items())
    with tqdm(total=(repeats + 1) * len(cases), desc=what, unit="run", mininterval=0.5) as bar:
        for round_ in range(repeats + 1):
            for name, run in order:
                value = run()
                if round_:
                    values[name].append(value)
                bar.update()
            order.rotate(-1)
    return {name: Measured(tuple(each)) for name, each in values.items()}


def table(title: str, rows: Mapping[str, Mapping[str, Measured]], unit: str, form: str) -> str:
    """A Markdown table: a row a peer, a column a case, `median (min–max)`."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [f"| {title}, {unit} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [_cell(row.get(column), form) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(measured: Measured | None, form: str) -> str:
    if measured is None:
        return ""
    least, most = min(measured.values), max(measured.values)
    return f"{measured.median:{form}} ({least:{form}}–{most:{form}})"
