"""`python -m training.evaluation --model champion --messages M.parquet --interactions I.parquet --report out.json`

How well a model and its peers do on any pair of tables with the benchmark's columns. History is computed causally over
every mail before `--split` and `--limit` choose which pairs are judged. Reply is a proxy for urgency.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.table import BadTable
from training.artefact import Artefact, ArtefactError
from training.baselines.peers import Opinion, opinions
from training.benchmark import Tables, Wanted, cuts, select
from training.bootstrap import Ranked, Resamples, paired
from training.figures import figures
from training.pairs import BadPairs, Pairs, digest
from training.progress import chunks
from training.provenance import provenance
from training.registry import ALIAS, TRACKING, RegistryError, locate

PROXY = "labels are replies within 24 hours, a proxy for urgency"
PEERS_LEARN = "pairs before the first cut; where those are judged, or there are none, folds of other people's pairs"


def main() -> None:
    """Writes the report and prints its first figures; exit status 0, or 2 with one line on standard error."""
    arguments = _arguments()
    try:
        evaluate(arguments)
    except (BadTable, BadPairs, ArtefactError, RegistryError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    """The report, written and shown. Raises BadTable, BadPairs, ArtefactError, RegistryError, OSError."""
    artefact = Artefact.load(locate(arguments.model, arguments.tracking))
    wanted = _wanted(arguments)
    benchmark = select(wanted, peers=not arguments.no_peers)
    judged = benchmark.stream.pairs.take(benchmark.judged)
    scores = np.concatenate([artefact.predict(chunk) for chunk in chunks(judged.examples(), "scoring")])
    everyone = {"model": Opinion(scores, artefact.description.certificates)}
    if benchmark.basis is not None:
        everyone |= opinions(benchmark.stream, benchmark.judged, benchmark.basis, cuts(), wanted.seed)
    report = {**_about(artefact, wanted), **compare(everyone, judged, wanted.seed)}
    _publish(report, {name: opinion.scores for name, opinion in everyone.items()}, judged.labels, arguments)
    return report


def compare(everyone: Mapping[str, Opinion], judged: Pairs, seed: int) -> dict[str, Any]:
    """The figures of "model", those of the others under `peers`, and model minus peer under `paired`."""
    resamples = Resamples(judged.recipients, seed)
    draws = {name: resamples.areas(opinion.scores, judged.labels) for name, opinion in everyone.items()}
    areas = {name: Ranked(opinion.scores, judged.labels).areas() for name, opinion in everyone.items()}
    said = {
        name: figures(opinion.scores, judged, draws[name], opinion.certificates) for name, opinion in everyone.items()
    }
    peers = [name for name in everyone if name != "model"]
    return {
        **said["model"],
        "peers": {name: said[name] for name in peers},
        "paired": {name: paired(draws["model"], draws[name], areas["model"], areas[name]) for name in peers},
    }


def _about(artefact: Artefact, wanted: Wanted) -> dict[str, Any]:
    return {
        "model": artefact.version,
        "dataset_digest": digest(wanted.tables.messages, wanted.tables.interactions),
        "split": wanted.split or "all",
        "limit": wanted.limit,
        "seed": wanted.seed,
        "held_out_list": wanted.held_out_list or None,
        "labels": PROXY,
        "peers_learn_from": PEERS_LEARN,
        **provenance(),
    }


def _publish(
    report: dict[str, Any],
    scores: Mapping[str, NDArray[np.float64]],
    labels: NDArray[np.int64],
    arguments: argparse.Namespace,
) -> None:
    """The report as a file and on the terminal; pictures where they are asked for; all of it to MLflow."""
    from training.pictures import draw

    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, said in {"model": report, **report["peers"]}.items():
        print(
            f"{name}: n={said['n']} auroc={said['auroc']:.4f} {said['auroc_ci']} "
            f"ap={said['average_precision']:.4f} ece={said['ece']:.4f}"
        )
    with TemporaryDirectory() as scratch:
        pictures = draw(scores, labels, arguments.pictures or Path(scratch))
        if arguments.log or arguments.model.startswith("models:") or arguments.model == ALIAS:
            from training.tracking import log_evaluation

            print(f"MLflow run {log_evaluation(arguments.tracking, report, arguments.report, pictures)}")


def _wanted(arguments: argparse.Namespace) -> Wanted:
    return Wanted(
        tables=Tables(arguments.messages, arguments.interactions),
        split=arguments.split,
        limit=arguments.limit,
        seed=arguments.seed,
        held_out_list=arguments.held_out_list,
        peers_from=Tables(*arguments.peers_from) if arguments.peers_from else None,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="training.evaluation", description=__doc__)
    add = parser.add_argument
    add("--model", required=True, help="champion, models:/…, or an artefact's folder")
    add("--messages", type=Path, required=True)
    add("--interactions", type=Path, required=True)
    add("--split", choices=("train", "validation", "test"), help="of the global time cut; every row without it")
    add("--limit", type=_count, default=0, help="judge that many pairs, drawn with --seed; 0 judges all")
    add("--seed", type=_count, default=0)
    add("--no-peers", action="store_true", help="judge the model alone")
    add("--peers-from", type=Path, nargs=2, metavar=("M", "I"), help="tables for the peers to learn from")
    add("--held-out-list", default="", help="judge this list alone, on people of no other; peers learn from the rest")
    add("--tracking", default=TRACKING, help="MLflow's tracking URI (default: %(default)s)")
    add("--log", action="store_true", help="to MLflow, as models of the registry always are")
    add("--pictures", type=Path, help="a folder for ROC, precision and recall, reliability and scores as PNG")
    add("--report", type=Path, required=True)
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


if __name__ == "__main__":
    main()
