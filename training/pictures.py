"""Four pictures of an evaluation: ROC, precision and recall, reliability, and where the scores lie."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

matplotlib.use("Agg")

BINS = 15

Scores = Mapping[str, NDArray[np.float64]]
Labels = NDArray[np.int64]


def draw(scores: Scores, labels: Labels, folder: Path) -> list[Path]:
    """Writes the pictures as PNG files and returns their paths; the first of the named scores is the model's."""
    folder.mkdir(parents=True, exist_ok=True)
    painters = {"roc": _roc, "precision_recall": _precision_recall, "reliability": _reliability, "scores": _histogram}
    paths = []
    for name, paint in painters.items():
        figure = Figure(figsize=(6.0, 5.0), layout="constrained")
        axes = figure.subplots()
        paint(axes, scores, labels)
        axes.legend(loc="best", fontsize="small")
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths


def _roc(axes: Axes, scores: Scores, labels: Labels) -> None:
    for name, values in scores.items():
        false, true, _ = roc_curve(labels, values)
        axes.plot(false, true, label=name)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="share of non-urgent pairs above", ylabel="share of urgent pairs above", title="ROC")


def _precision_recall(axes: Axes, scores: Scores, labels: Labels) -> None:
    for name, values in scores.items():
        precision, recall, _ = precision_recall_curve(labels, values)
        axes.plot(recall, precision, label=name, drawstyle="steps-post")
    axes.axhline(float(labels.mean()), color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall", ylim=(0.0, 1.02))


def _reliability(axes: Axes, scores: Scores, labels: Labels) -> None:
    """What was stated against what happened, in equally full bins."""
    for name, values in scores.items():
        groups = np.array_split(np.argsort(values, kind="stable"), min(BINS, len(values)))
        stated = [values[group].mean() for group in groups]
        happened = [labels[group].mean() for group in groups]
        axes.plot(stated, happened, marker="o", markersize=3, label=name)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="stated probability", ylabel="share answered within a day", title="Reliability")


def _histogram(axes: Axes, scores: Scores, labels: Labels) -> None:
    """Only the model's: urgent pairs and the others, each as a density."""
    values = next(iter(scores.values()))
    for label, name in ((0, "not answered within a day"), (1, "answered within a day")):
        axes.hist(values[labels == label], bins=40, range=(0.0, 1.0), density=True, alpha=0.6, label=name)
    axes.set(xlabel="score", ylabel="density", title="Where the scores lie", yscale="log")
