"""`python -m training.twins --model champion --report out.json`

In how many invented pairs the urgent mail scores higher than its trivial twin; a tie is wrong. The pairs of equal
words, where only role and history differ, are counted apart. What they are stands in tests/model/README.md.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.table import BadTable
from training.artefact import Artefact, ArtefactError
from training.invented import BadTwins, Twins, load_twins, twins_digest
from training.pairs import BadPairs, Pairs
from training.progress import chunks
from training.provenance import provenance
from training.registry import TRACKING, RegistryError, locate
from training.render import Example

ROLES = "roles"  # the kind whose words are equal
TWINS = Path("tests/model/twins")


@dataclass(frozen=True, slots=True)
class Scored:
    """A pair and what the two were given, probabilities of "urgent"."""

    kind: str
    name: str
    known: bool
    automated: bool
    urgent: float
    trivial: float

    @property
    def right(self) -> bool:
        return self.urgent > self.trivial


def main() -> None:
    """Writes the report and prints it; exit status 0, or 2 with one line on standard error."""
    arguments = _arguments()
    try:
        report = measure(arguments)
        if arguments.report:
            arguments.report.parent.mkdir(parents=True, exist_ok=True)
            arguments.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except (BadTwins, BadTable, BadPairs, ArtefactError, RegistryError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(json.dumps(report, indent=2) if arguments.json else table(report))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The report. Raises BadTwins, BadTable, BadPairs, ArtefactError, RegistryError, OSError."""
    twins = load_twins(arguments.data)
    artefact = Artefact.load(locate(arguments.model, arguments.tracking))
    peers = {"boosted_trees": summary(_by_trees(twins, arguments.trees, arguments.seed))} if arguments.trees else {}
    return {
        "model": artefact.version,
        "twins_digest": twins_digest(arguments.data),
        "seed": arguments.seed,
        **provenance(),
        **report_of(score(artefact, twins), artefact.thresholds.urgent, artefact.thresholds.discard),
        "peers": peers,
    }


def score(artefact: Artefact, twins: Sequence[Twins]) -> list[Scored]:
    """Every pair with the artefact's calibrated probabilities."""
    return _scored(twins, np.concatenate([artefact.predict(part) for part in chunks(_sides(twins), "scoring")]))


def report_of(scored: Sequence[Scored], urgent: float, discard: float | None) -> dict[str, Any]:
    """`summary`, and how many twins of words reach the threshold `urgent` or, being urgent, lie below `discard`."""
    words = [pair for pair in scored if pair.kind != ROLES]
    below = [pair for pair in words if discard is not None and pair.urgent < discard]
    return {
        **summary(scored),
        "urgent_at_threshold": sum(pair.urgent >= urgent for pair in words),
        "trivial_at_threshold": sum(pair.trivial >= urgent for pair in words),
        "urgent_below_discard": {
            "people": sum(not pair.automated for pair in below),
            "machines": sum(pair.automated for pair in below),
        },
        "pairs": [{**asdict(pair), "right": pair.right} for pair in scored],
    }


def summary(scored: Sequence[Scored]) -> dict[str, Any]:
    """How many pairs are ranked right: those of words together, by history and by kind, and those of roles."""
    words = [pair for pair in scored if pair.kind != ROLES]
    return {
        **_tally(words),
        "with_history": _tally(pair for pair in words if pair.known),
        "without_history": _tally(pair for pair in words if not pair.known),
        "kinds": {kind: _tally(p for p in words if p.kind == kind) for kind in sorted({p.kind for p in words})},
        "roles": _tally(pair for pair in scored if pair.kind == ROLES),
    }


def table(report: dict[str, Any]) -> str:
    """The report's counts, a line each."""
    lines = {"all pairs": report, "with history": report["with_history"], "without history": report["without_history"]}
    lines |= report["kinds"] | {"roles (equal words)": report["roles"]}
    for name, peer in report["peers"].items():
        lines |= {f"{name}, all pairs": peer, f"{name}, roles": peer["roles"]}
    shown = [
        f"{name:<26}{line['right']:>4} of {line['n']:>3}  {_percent(line['share'])}" for name, line in lines.items()
    ]
    return "\n".join([f"{report['model']}: the urgent twin scores higher in", *shown])


def _tally(scored: Iterable[Scored]) -> dict[str, Any]:
    """Pairs, those ranked right, those tied, and the share ranked right, None without pairs."""
    pairs = list(scored)
    right, tied = sum(pair.right for pair in pairs), sum(pair.urgent == pair.trivial for pair in pairs)
    return {"n": len(pairs), "right": right, "tied": tied, "share": right / len(pairs) if pairs else None}


def _sides(twins: Sequence[Twins]) -> list[Example]:
    return [side for pair in twins for side in (pair.urgent, pair.trivial)]


def _scored(twins: Sequence[Twins], scores: NDArray[np.float64]) -> list[Scored]:
    sides = scores.reshape(len(twins), 2)
    return [
        Scored(pair.kind, pair.name, pair.known, pair.automated, float(urgent), float(trivial))
        for pair, (urgent, trivial) in zip(twins, sides, strict=True)
    ]


def _by_trees(twins: Sequence[Twins], tables: Sequence[Path], seed: int) -> list[Scored]:
    """The pairs as boosted trees score them that learned from these tables' training span; they read no words."""
    from training.baselines.peer import Material
    from training.baselines.trees import trees
    from training.benchmark import Tables, rows_of

    pairs = Tables(*tables).pairs()
    judge = trees(Material(pairs.take(rows_of(pairs, "train"))), seed)
    stream = Material(_as_pairs(_sides(twins)))
    return _scored(twins, judge(stream, np.arange(len(stream))))


def _as_pairs(examples: Sequence[Example]) -> Pairs:
    """The examples as columns; what no peer of history reads is empty."""
    count, nobody = len(examples), ("",) * len(examples)
    return Pairs(
        texts=tuple(example.text for example in examples),
        features=np.stack([example.features for example in examples]),
        labels=np.zeros(count, dtype=np.int64),
        dates=np.zeros(count),
        recipients=nobody,
        automated=np.zeros(count, dtype=np.bool_),
        senders=nobody,
        people=nobody,
        settled=np.zeros(count),
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:6.1%}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="training.twins", description=__doc__)
    add = parser.add_argument
    add("--model", required=True, help="champion, models:/…, or an artefact's folder")
    add("--data", type=Path, default=TWINS, help="the folder of pairs (default: %(default)s)")
    add("--trees", type=Path, nargs=2, metavar=("M", "I"), help="tables for boosted trees to learn from, as a peer")
    add("--seed", type=int, default=0)
    add("--tracking", default=TRACKING, help="MLflow's tracking URI (default: %(default)s)")
    add("--report", type=Path, help="where to write the report as JSON")
    add("--json", action="store_true", help="print the report instead of the table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
