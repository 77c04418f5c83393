"""What a report says of one model's scores: the whole, its slices, each recipient, and what the bound would cost."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.history import FEATURES
from training.artefact import MACHINES, PEOPLE, Certificate
from training.bootstrap import Ranked, interval
from training.metrics import measure
from training.pairs import Pairs
from training.provenance import pseudonym

Scores = NDArray[np.float64]
Mask = NDArray[np.bool_]
Certificates = Sequence[Certificate] | None


def figures(scores: Scores, judged: Pairs, draws: NDArray[np.float64], certificates: Certificates) -> dict[str, Any]:
    """Everything about these scores, (N,); `draws` are the bootstrap's areas of them (training.bootstrap)."""
    is_discarded = discarded(scores, judged, certificates)
    return {
        **measure(scores, judged.labels),
        "auroc_ci": interval(draws[:, 0]),
        "average_precision_ci": interval(draws[:, 1]),
        **_at_bound(is_discarded, judged.labels),
        "certificates": None if certificates is None else [asdict(each) for each in certificates],
        "slices": {
            name: _slice(scores[rows], judged.labels[rows], None if is_discarded is None else is_discarded[rows])
            for name, rows in slices(judged).items()
        },
        **_by_recipient(scores, judged),
    }


def slices(judged: Pairs) -> dict[str, Mask]:
    """Which rows are sent by machines or by people, carry a patch, are the first of their pair, or the first mail that
    their recipient was ever sent in these tables."""

    def feature(name: str) -> NDArray[np.float32]:
        return judged.features[:, FEATURES.index(name)]

    return {
        "machine_sent": judged.automated,
        "people": ~judged.automated,
        "patch": feature("is_patch") > 0,
        "new_pair": feature("pair_received") == 0,
        "new_recipient": feature("recipient_received") == 0,
    }


def discarded(scores: Scores, judged: Pairs, certificates: Certificates) -> Mask | None:
    """Which rows the certificates would let triage discard, none without one; None where nobody asked for any."""
    if certificates is None:
        return None
    is_discarded = np.zeros(len(scores), dtype=np.bool_)
    for each in certificates:
        of_slice = {MACHINES: judged.automated, PEOPLE: ~judged.automated}[each.slice]
        is_discarded |= of_slice & (scores <= each.threshold)
    return is_discarded


def _slice(scores: Scores, labels: NDArray[np.int64], is_discarded: Mask | None) -> dict[str, Any]:
    """The figures of some rows; only their number where all labels are equal."""
    if len(labels) == 0 or labels.min() == labels.max():
        return {"n": len(labels), "positives": int(labels.sum())}
    return {**measure(scores, labels), **_at_bound(is_discarded, labels)}


def _at_bound(is_discarded: Mask | None, labels: NDArray[np.int64]) -> dict[str, float | None]:
    if is_discarded is None:
        return {"urgent_lost_at_bound": None, "nonurgent_discarded_at_bound": None}
    return {
        "urgent_lost_at_bound": float(is_discarded[labels == 1].mean()),
        "nonurgent_discarded_at_bound": float(is_discarded[labels == 0].mean()),
    }


def _by_recipient(scores: Scores, judged: Pairs) -> dict[str, Any]:
    """A row for each recipient under a pseudonym, most pairs first, and the mean over those who can be ranked."""
    names, codes = np.unique(np.asarray(judged.recipients), return_inverse=True)
    groups = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rows = [_recipient(str(name), scores[of], judged.labels[of]) for name, of in zip(names, groups, strict=True)]
    ranked = [row for row in rows if row["auroc"] is not None]
    return {
        "recipient_mean": {
            "recipients": len(ranked),
            **{key: _mean([row[key] for row in ranked]) for key in ("auroc", "average_precision")},
        },
        "per_recipient": sorted(rows, key=lambda row: (-row["n"], row["recipient"])),
    }


def _recipient(address: str, scores: Scores, labels: NDArray[np.int64]) -> dict[str, Any]:
    auroc, precision = (None if np.isnan(area) else round(area, 4) for area in Ranked(scores, labels).areas())
    return {
        "recipient": pseudonym(address),
        "n": len(labels),
        "positives": int(labels.sum()),
        "auroc": auroc,
        "average_precision": precision,
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None
