"""The discard bound: how low a score must be for its mail to be discarded, certified on validation pairs.

Of n urgent pairs, drawn independently from the urgent mail to come, the k-th lowest score has less than the share
alpha of that mail below it with confidence P(Binomial(n, alpha) >= k): a tolerance limit (Wilks 1941), free of any
distribution. k follows from n alone, so no threshold is tried and then believed; the k - 1 pairs below it are the most
whose one-sided interval (Clopper and Pearson 1934) stays within alpha.

**What it assumes.** Validation pairs are not independent: those of one recipient are alike. So the limit has to hold a
second time, with n reduced by the design effect of recipients (Korn and Graubard 1998), and the threshold goes down
until it does; that part is asymptotic. Mail to come has to be like validation's, which no certificate can promise.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom  # type: ignore[import-untyped]

from training.artefact import MACHINES, PEOPLE, Certificate, Thresholds
from training.pairs import Pairs

CONFIDENCE = 0.95


def certify(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    recipients: Sequence[str],
    *,
    alpha: float,
    slice_: str = PEOPLE,
    confidence: float = CONFIDENCE,
) -> Certificate | None:
    """The highest threshold that is certified on these pairs, (N,) each; None where too few of them are urgent."""
    is_urgent = labels == 1
    order = np.argsort(scores[is_urgent], kind="stable")
    ranked = scores[is_urgent][order]
    _, people = np.unique(np.asarray(recipients)[is_urgent][order], return_inverse=True)
    for rank in range(tolerated(len(ranked), alpha, confidence), 1, -1):  # with none lost, nobody's likeness shows
        threshold = float(np.nextafter(ranked[rank - 1], -np.inf))  # the highest number below it, ties and all
        is_lost = ranked <= threshold
        clustered = clustered_bound(is_lost, people, confidence)
        if clustered < alpha and threshold > 0.0:
            return Certificate(slice_, threshold, alpha, confidence, len(ranked), int(is_lost.sum()), clustered)
    return None


def tolerated(count: int, alpha: float, confidence: float) -> int:
    """The largest k with P(Binomial(count, alpha) >= k) >= confidence; 0 where so few say nothing."""
    ranks = np.arange(1, count + 1)
    return int(np.count_nonzero(binom.sf(ranks - 1, count, alpha) >= confidence))


def clustered_bound(is_lost: NDArray[np.bool_], people: NDArray[np.intp], confidence: float) -> float:
    """The upper bound on the share of urgent mail lost, pairs of one person (a code from 0 on, (N,)) taken as alike."""
    count, lost = len(is_lost), np.bincount(people, is_lost)
    share = float(is_lost.mean())
    effective = float(count)
    if share > 0.0 and len(lost) > 1:
        spread = float(((lost - share * np.bincount(people)) ** 2).sum()) * len(lost) / (len(lost) - 1)
        effective = min(effective, share * (1.0 - share) * count**2 / spread)
    return float(beta.ppf(confidence, share * effective + 1.0, effective * (1.0 - share)))


def certify_slices(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    recipients: Sequence[str],
    automated: NDArray[np.bool_],
    *,
    alpha: float,
) -> tuple[Certificate, ...]:
    """The certificates for mail of people and of machines, each from its own pairs alone, where there are enough."""
    names = np.asarray(recipients)
    slices = ((PEOPLE, ~automated), (MACHINES, automated))
    found = (
        certify(scores[rows], labels[rows], names[rows].tolist(), alpha=alpha, slice_=slice_) for slice_, rows in slices
    )
    return tuple(each for each in found if each is not None)


def stated(thresholds: Thresholds, certificates: Sequence[Certificate]) -> dict[str, Any]:
    """What a description says with these certificates, and no others: the changes for `redescribe`."""
    people = next((each for each in certificates if each.slice == PEOPLE), None)
    return {
        "thresholds": replace(thresholds, discard=people.threshold if people else None),
        "bound": people.bound if people else None,
        "certificates": tuple(certificates),
    }


def later_half(scores: NDArray[np.float64], judged: Pairs, *, alpha: float) -> list[dict[str, Any]]:
    """What no certificate can promise, tried: certified on the earlier half of the mail, judged on the later half."""
    is_early = judged.dates < np.median(judged.dates)
    early, late = judged.take(np.flatnonzero(is_early)), judged.take(np.flatnonzero(~is_early))
    found = certify_slices(scores[is_early], early.labels, early.recipients, early.automated, alpha=alpha)
    return consequences(scores[~is_early], late, found)


def consequences(
    scores: NDArray[np.float64], judged: Pairs, certificates: Sequence[Certificate]
) -> list[dict[str, Any]]:
    """Each certificate with the number of its slice's pairs, and the shares of them at or below its threshold."""
    certified = ((each, judged.automated == (each.slice == MACHINES)) for each in certificates)
    return [{**asdict(each), **_shares(scores[of] <= each.threshold, judged.labels[of])} for each, of in certified]


def _shares(is_low: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "n": len(labels),
        "urgent_share_lost": float(is_low[labels == 1].mean()),
        "nonurgent_share_discarded": float(is_low[labels == 0].mean()),
    }
