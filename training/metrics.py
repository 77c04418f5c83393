"""The figures that a run is judged by, as `evaluate` metrics that need no hub."""

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

_FEATURES = datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("int64")})


class _Metric(evaluate.Metric):  # type: ignore[misc]
    """A metric over probabilities of "urgent" and labels of 0 and 1."""

    title = ""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.title,
            citation="",
            inputs_description="predictions: probabilities; references: 0 or 1",
            features=_FEATURES,
        )


class Auroc(_Metric):
    """The chance that a random urgent pair scores above a random other one."""

    title = "area under the ROC curve"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"auroc": float(roc_auc_score(references, predictions))}


class AveragePrecision(_Metric):
    """The area under the precision-recall curve, as a step function."""

    title = "average precision"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"average_precision": float(average_precision_score(references, predictions))}


class CalibrationError(_Metric):
    """How far stated probabilities lie from what happened, weighted over 15 equally full bins (Guo et al. 2017)."""

    title = "expected calibration error"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"ece": calibration_error(np.asarray(predictions), np.asarray(references))}


def measure(scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> dict[str, float]:
    """n, positives, auroc, average_precision and ece of probabilities (N,) against labels (N,) of 0 and 1."""
    figures: dict[str, float] = {"n": len(labels), "positives": int(labels.sum())}
    for metric in (Auroc(), AveragePrecision(), CalibrationError()):
        figures |= metric.compute(predictions=scores, references=labels)
    return figures


def calibration_error(scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = 15) -> float:
    """The expected calibration error over equally full bins."""
    groups = np.array_split(np.argsort(scores, kind="stable"), min(bins, len(scores)))
    return float(sum(abs(scores[group].mean() - labels[group].mean()) * len(group) for group in groups) / len(scores))
