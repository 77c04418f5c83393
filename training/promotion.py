"""`python -m training.promotion --messages M.parquet --interactions I.parquet`: does the challenger become champion?

Both are judged on the same rows, validation unless `--split` says otherwise, and whole recipients are drawn again for
the interval. Three criteria must hold: average precision is better, with a 95 % interval of the difference above 0;
urgent recall, each at its own threshold, is not worse by more than one pair; the challenger's calibration error is at
most 0.02. Then the alias `champion` moves, and `previous` remembers: `python -m training.registry back` is the one
command to go back.

Exit status 0: promoted; 3: not promoted, every failed criterion named; 2: bad input, in one line on standard error.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.table import BadTable
from training.artefact import STARTER, Artefact, ArtefactError
from training.baselines.peers import PEERS
from training.benchmark import Benchmark, Tables, Wanted, rows_of, select
from training.calibration import choose_thresholds
from training.config import Config
from training.criteria import Judgement, decide
from training.evaluation import PROXY
from training.pairs import BadPairs, Pairs, digest
from training.progress import chunks
from training.provenance import provenance
from training.registry import TRACKING, champion, locate, register
from training.tracking import log_promotion
from training.versions import ALIAS, CHALLENGER, PREVIOUS, RegistryError, address, aliased, appoint, version_of

STRONGEST = "boosted_trees_with_form"  # the peer that stands in for a champion which cannot be scored
_BAD_INPUT = (BadTable, BadPairs, ArtefactError, RegistryError, OSError)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An artefact that can be scored, and its version; None where it is not registered."""

    artefact: Artefact
    folder: Path
    version: str | None


def main(words: Sequence[str] | None = None) -> None:
    """Judges, says each criterion, and promotes where all hold; exit status 0, 3 or 2."""
    arguments = _arguments(words)
    try:
        report = promote(arguments)
    except _BAD_INPUT as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if report["passed"] else 3)


def promote(arguments: argparse.Namespace) -> dict[str, Any]:
    """The report, kept and shown; the alias has moved where it has `passed`. Raises BadTable, BadPairs, ArtefactError,
    RegistryError, OSError."""
    tracking: str = arguments.tracking
    challenger = _candidate(arguments.challenger, tracking)
    incumbent = _incumbent(arguments)
    beaten = incumbent.version if incumbent else aliased(tracking, ALIAS)
    tables = Tables(arguments.messages, arguments.interactions)
    benchmark = select(Wanted(tables, split=arguments.split, seed=arguments.seed), peers=False)
    judged = benchmark.stream.pairs.take(benchmark.judged)
    against = _judged_by(incumbent, judged) if incumbent else _stand_in(benchmark, arguments.seed)
    report = {
        "dataset_digest": digest(tables.messages, tables.interactions),
        "split": arguments.split,
        "seed": arguments.seed,
        "labels": PROXY,
        **decide(_judged_by(challenger, judged), against, judged, arguments.seed),
        **provenance(),
    }
    _publish(report, arguments)
    if report["passed"]:
        print(_moved(challenger, beaten, tracking))
    return report


def _candidate(model: str, tracking: str) -> Candidate:
    """The version is looked up first, so that what is judged is what moves."""
    version = version_of(tracking, model)
    folder = champion(tracking, address(version) if version else model)
    return Candidate(Artefact.load(folder), folder, version)


def _incumbent(arguments: argparse.Namespace) -> Candidate | None:
    """Whom the challenger has to beat: the starter where there is no champion; None for the strongest peer instead.

    Raises RegistryError where the champion cannot be scored and no peer may stand in for it.
    """
    try:
        if arguments.champion == ALIAS and aliased(arguments.tracking, ALIAS) is None:
            Artefact.load(STARTER)
            locate(ALIAS, arguments.tracking)
        return _candidate(arguments.champion, arguments.tracking)
    except ArtefactError as error:
        if arguments.unscorable_champion and arguments.champion == ALIAS:
            return None
        raise RegistryError(
            f"the champion cannot be scored ({error}); --unscorable-champion judges against {STRONGEST} instead"
        ) from None


def _judged_by(candidate: Candidate, judged: Pairs) -> Judgement:
    artefact = candidate.artefact
    scores = np.concatenate([artefact.predict(chunk) for chunk in chunks(judged.examples(), artefact.version)])
    return Judgement(artefact.version, candidate.version, scores, artefact.thresholds.urgent)


def _stand_in(benchmark: Benchmark, seed: int) -> Judgement:
    """The strongest peer, fitted on the training pairs; its threshold is chosen on validation as a model's is."""
    config, stream = Config("promotion"), benchmark.stream
    learned, held_out = (rows_of(stream.pairs, split) for split in ("train", "validation"))
    for rows, split in ((learned, "train"), (held_out, "validation")):
        if len(set(stream.pairs.labels[rows].tolist())) < 2:
            raise BadPairs(f"split {split}: {STRONGEST} needs answered and unanswered pairs in it; give larger tables")
    judge = PEERS[STRONGEST](stream.take(learned), seed)
    thresholds = choose_thresholds(
        judge(stream, held_out), stream.pairs.labels[held_out], recall=config.urgent_recall, band=config.band
    )
    return Judgement(STRONGEST, None, judge(stream, benchmark.judged), thresholds.urgent)


def _publish(report: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Each criterion on the terminal; the report to MLflow, and as a file where one is asked for."""
    sides = (f"{report[role]['model']} ({_named(report[role]['version'])})" for role in (CHALLENGER, ALIAS))
    print(" against ".join(sides) + f", {report[CHALLENGER]['figures']['n']} pairs of {report['split']}")
    for each in report["criteria"]:
        print(f"{each['name']}: {each['said']}: {'passed' if each['passed'] else 'failed'}")
    if arguments.report:
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        arguments.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"MLflow run {log_promotion(arguments.tracking, report)}")
    failed = [each["name"] for each in report["criteria"] if not each["passed"]]
    if failed:
        print(f"not promoted: {', '.join(failed)}")


def _named(version: str | None) -> str:
    return f"version {version}" if version else "not registered"


def _moved(challenger: Candidate, beaten: str | None, tracking: str) -> str:
    """The alias moves, to a version or to a folder that becomes one, if who was beaten has it."""
    present = aliased(tracking, ALIAS)
    if present != beaten:
        raise RegistryError(
            f"version {present} is champion and was not judged; nothing moved, judge it against that one"
        )
    version = challenger.version or register(tracking, challenger.folder)
    appoint(tracking, version)
    before = aliased(tracking, PREVIOUS)
    return f"version {version} is {ALIAS}" + (f", version {before} is {PREVIOUS}" if before else "")


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="training.promotion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--messages", type=Path, required=True)
    add("--interactions", type=Path, required=True)
    add("--challenger", default=CHALLENGER, help="challenger, models:/…, or an artefact's folder")
    add("--champion", default=ALIAS, help="whom it has to beat: champion, models:/…, or an artefact's folder")
    add("--split", choices=("validation", "test"), default="validation", help="of the global time cut")
    add("--seed", type=int, default=0, help="of the draws of recipients")
    add("--unscorable-champion", action="store_true", help=f"judge against {STRONGEST} where the champion cannot run")
    add("--tracking", default=TRACKING, help="MLflow's tracking URI (default: %(default)s)")
    add("--report", type=Path, help="also write the report here, as JSON")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
