"""From a graph's logits to probabilities and thresholds, fitted on validation pairs alone.

`python -m training.calibration --model FOLDER --messages M.parquet --interactions I.parquet --alpha 0.01` certifies an
artefact's discard threshold on validation and writes it into the artefact's description; register it afterwards.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

from data.table import BadTable
from training.artefact import GRAPH, Artefact, ArtefactError, Certificate, Thresholds, redescribe, sigmoid
from training.baselines.peer import Material
from training.baselines.peers import PEERS
from training.bound import certify_slices, consequences, later_half, stated
from training.config import Config
from training.pairs import BadPairs, Pairs, check_labels, digest, load_pairs
from training.provenance import provenance
from training.scores import resumed_logits


def fit_scale(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Temperature and offset with the highest likelihood (Platt 1999): sigmoid(logit / temperature + offset)."""

    def surprise(parameters: NDArray[Any]) -> float:
        values = logits * math.exp(-parameters[0]) + parameters[1]
        return float(np.mean(np.logaddexp(0.0, values) - labels * values))

    # The bounds hold where the labels can be told apart perfectly and the likelihood has no maximum.
    found = minimize(surprise, np.zeros(2), method="L-BFGS-B", bounds=[(-3.0, 3.0), (-10.0, 10.0)]).x
    return math.exp(found[0]), float(found[1])


def choose_thresholds(
    scores: NDArray[np.float64], labels: NDArray[np.int64], *, recall: float, band: float
) -> Thresholds:
    """`urgent` is the highest score that keeps at least `recall` of the urgent pairs; its band holds that share of all
    pairs, half on each side. There is no discard threshold: that takes a certificate (training.bound)."""
    urgent_scores = np.sort(scores[labels == 1])[::-1]
    urgent = float(urgent_scores[math.ceil(recall * len(urgent_scores)) - 1])
    ranked = np.sort(scores)
    at, half = int(np.searchsorted(ranked, urgent)), int(band * len(ranked) / 2)
    low, high = ranked[max(at - half, 0)], ranked[min(at + half - 1, len(ranked) - 1)]
    return Thresholds(urgent, None, (float(min(low, urgent)), float(max(high, urgent))))


def calibrated(logits: NDArray[np.float64], temperature: float, offset: float) -> NDArray[np.float64]:
    """The probabilities that an artefact with this temperature and offset gives."""
    return sigmoid(logits / temperature + offset)


def main() -> None:
    """Certifies, says what it found, and writes it down; exit status 0, or 2 with one line on standard error."""
    try:
        _run(_arguments())
    except (BadTable, BadPairs, ArtefactError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def _run(arguments: argparse.Namespace) -> None:
    text = json.dumps(certify_artefact(arguments), indent=2)
    print(text)
    if arguments.report:
        arguments.report.write_text(text + "\n", encoding="utf-8")


def certify_artefact(arguments: argparse.Namespace) -> dict[str, Any]:
    """The report; the artefact's description is changed. Raises BadTable, BadPairs, ArtefactError."""
    artefact, cuts = Artefact.load(arguments.model), Config("calibration").cuts
    pairs = load_pairs(arguments.messages, arguments.interactions, "replied_24h")
    validation, source = pairs.between(*cuts), digest(arguments.messages, arguments.interactions)
    check_labels(validation, "validation")
    name = sha256((arguments.model / GRAPH).with_suffix(".bin").read_bytes() + source.encode()).hexdigest()[:16]
    logits = resumed_logits(artefact, validation, arguments.cache / f"{name}-{artefact.max_length}.f64")
    scores = calibrated(logits, artefact.description.temperature, artefact.description.offset)
    certificates = _certificates(scores, validation, arguments.alpha)
    redescribe(arguments.model, **stated(artefact.thresholds, certificates))
    report = {"model": artefact.version, "dataset_digest": source, "split": "validation", **provenance()}
    report["band_share"] = _share(scores, artefact.thresholds.band)
    report |= _told(scores, validation, certificates, arguments.alpha)
    if arguments.peers:
        report["peers"] = {"boosted_trees": _trees(pairs.between(-math.inf, cuts[0]), validation, arguments.alpha)}
    return report


def _trees(learned: Pairs, validation: Pairs, alpha: float) -> dict[str, Any]:
    """The strongest classical peer, certified by the same rule on the same pairs."""
    scores = PEERS["boosted_trees"](Material(learned), 0)(Material(validation), np.arange(len(validation)))
    return _told(scores, validation, _certificates(scores, validation, alpha), alpha)


def _told(
    scores: NDArray[np.float64], validation: Pairs, certificates: Sequence[Certificate], alpha: float
) -> dict[str, Any]:
    """What the certificates cost and save here, and how one from the earlier half did on the later."""
    return {
        "certificates": consequences(scores, validation, certificates),
        "earlier_half_tried_on_later": later_half(scores, validation, alpha=alpha),
    }


def _certificates(scores: NDArray[np.float64], judged: Pairs, alpha: float) -> tuple[Certificate, ...]:
    return certify_slices(scores, judged.labels, judged.recipients, judged.automated, alpha=alpha)


def _share(scores: NDArray[np.float64], band: tuple[float, float]) -> float:
    return float(((scores >= band[0]) & (scores < band[1])).mean())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="training.calibration", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="an artefact's folder; its description is changed")
    parser.add_argument("--messages", type=Path, required=True)
    parser.add_argument("--interactions", type=Path, required=True)
    parser.add_argument("--alpha", type=float, default=0.01, help="share of urgent mail that may be lost")
    parser.add_argument("--peers", action="store_true", help="also certify the boosted trees, for comparison")
    parser.add_argument(
        "--cache", type=Path, default=Path("var/calibration"), help="where logits wait for a second run"
    )
    parser.add_argument("--report", type=Path, help="also write the report here")
    arguments = parser.parse_args()
    if not 0 < arguments.alpha < 1:
        parser.error("--alpha: give a share between 0 and 1")
    return arguments


if __name__ == "__main__":
    main()
