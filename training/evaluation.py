"""`python -m training.evaluation --model champion --messages M.parquet --interactions I.parquet --report out.json`

How well a model and its peers do on any pair of tables with the benchmark's columns. History is computed causally over
every mail before `--split` and `--limit` choose which pairs are judged. Reply is a proxy for urgency.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.table import BadTable
from training.artefact import Artefact, ArtefactError
from training.baselines import addressed_directly, boosted_trees
from training.config import Config
from training.metrics import interval, measure
from training.pairs import BadPairs, Pairs, check_labels, digest, load_pairs
from training.progress import chunks
from training.provenance import provenance
from training.registry import ALIAS, NAME, TRACKING, RegistryError, champion, import_starter

PROXY = "labels are replies within 24 hours, a proxy for urgency"


def main() -> None:
    """Writes the report and prints its first figures; exit status 0, or 1 with one line on standard error."""
    arguments = _arguments()
    try:
        report = evaluate(arguments)
    except (BadTable, BadPairs, ArtefactError, RegistryError) as error:
        sys.exit(str(error))
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, figures in {"model": report, **report["peers"]}.items():
        print(
            f"{name}: n={figures['n']} auroc={figures['auroc']:.4f} {figures['auroc_ci']} "
            f"ap={figures['average_precision']:.4f} ece={figures['ece']:.4f}"
        )


def evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    """The report. Raises BadTable, BadPairs, ArtefactError, RegistryError."""
    artefact = Artefact.load(_folder(arguments.model, arguments.tracking))
    pairs = load_pairs(arguments.messages, arguments.interactions, "replied_24h")
    learned, judged = choose(pairs, arguments.split, arguments.limit, arguments.seed)
    scores = np.concatenate([artefact.predict(chunk) for chunk in chunks(judged.examples(), "scoring")])
    return {
        "model": artefact.version,
        "dataset_digest": digest(arguments.messages, arguments.interactions),
        "split": arguments.split or "all",
        "seed": arguments.seed,
        "labels": PROXY,
        **provenance(),
        **_figures(scores, judged, arguments.seed),
        "machine_sent": _slice(scores, judged, judged.automated),
        "people": _slice(scores, judged, ~judged.automated),
        "peers": {} if arguments.no_peers else _peers(learned, judged, arguments),
    }


def choose(pairs: Pairs, split: str | None, limit: int, seed: int) -> tuple[Pairs, Pairs]:
    """The pairs that peers may learn from, and those that are judged. Raises BadPairs where a split selects nothing."""
    start, end = Config("evaluation").cuts
    spans = {"train": (-1e18, start), "validation": (start, end), "test": (end, 1e18)}
    judged = pairs.between(*spans[split]) if split else pairs
    check_labels(judged, f"split {split}" if split else "the tables")
    return pairs.between(-1e18, start), judged.draw(limit, seed)


def _peers(learned: Pairs, judged: Pairs, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of the peers on the same rows; without a training split there are no trees."""
    scores = {"rule": addressed_directly(judged)}
    if len(learned) and learned.labels.min() != learned.labels.max():
        few = learned.draw(arguments.peer_pairs, arguments.seed)
        scores["boosted_trees"] = boosted_trees(few, judged, arguments.seed)
    return {name: _figures(values, judged, arguments.seed) for name, values in scores.items()}


def _figures(scores: NDArray[np.float64], judged: Pairs, seed: int) -> dict[str, Any]:
    return {**measure(scores, judged.labels), "auroc_ci": interval(scores, judged.labels, judged.recipients, seed)}


def _slice(scores: NDArray[np.float64], judged: Pairs, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """The figures of some rows; only their number where all labels are equal."""
    labels = judged.labels[rows]
    if len(labels) == 0 or labels.min() == labels.max():
        return {"n": len(labels), "positives": int(labels.sum())}
    return {**measure(scores[rows], labels)}


def _folder(model: str, tracking: str) -> Path:
    """Where the model lies: `champion` (the starter where there is none yet), `models:/…`, or a folder."""
    if model != ALIAS:
        return champion(tracking, model)
    import_starter(tracking)
    return champion(tracking, f"models:/{NAME}@{ALIAS}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="training.evaluation", description=__doc__)
    parser.add_argument("--model", required=True, help="champion, models:/…, or an artefact's folder")
    parser.add_argument("--messages", type=Path, required=True)
    parser.add_argument("--interactions", type=Path, required=True)
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), help="the global time cut; default: every row"
    )
    parser.add_argument("--limit", type=int, default=0, help="judge that many pairs, drawn with --seed; 0 judges all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--peer-pairs", type=int, default=0, help="pairs the trees learn from; 0 takes the whole split")
    parser.add_argument("--tracking", default=TRACKING, help="MLflow's tracking URI (default: %(default)s)")
    parser.add_argument("--report", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
