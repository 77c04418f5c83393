"""Boosted trees over history and form, as a part of the model: fitted by scikit-learn, computed as tensors.

A tree is two matrix products (Hummingbird's GEMM form, Nakandala et al. 2020): every node's question at once, then for
every leaf whether the answers on its path are the right ones. So it lives in the same graph as the encoder.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold
from torch import Tensor, nn

from training.baselines.trees import boosted
from training.pairs import BadPairs, Pairs

SEEDS, FOLDS = 2, 4

Trees = Sequence[HistGradientBoostingClassifier]
Floats = NDArray[np.float32]


class Forest(nn.Module):
    """logits (N,) from features (N, F): the mean over the ensembles that it was made of. `size` is (T, I, L): trees,
    and at most how many inner nodes and leaves one has; an empty forest says 0."""

    asked: Tensor
    thresholds: Tensor
    paths: Tensor
    lefts: Tensor
    values: Tensor
    base: Tensor

    def __init__(self, size: tuple[int, int, int]) -> None:
        super().__init__()
        trees, nodes, leaves = size
        self.register_buffer("asked", torch.zeros(trees * nodes, dtype=torch.long))
        self.register_buffer("thresholds", torch.zeros(trees, nodes))
        self.register_buffer("paths", torch.zeros(trees, nodes, leaves))
        self.register_buffer("lefts", torch.full((trees, leaves), -1.0))
        self.register_buffer("values", torch.zeros(trees, leaves))
        self.register_buffer("base", torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        trees, nodes = self.thresholds.shape
        if trees == 0:
            return self.base.expand(features.shape[0])
        asked = features[:, self.asked].reshape(-1, trees, nodes)
        goes_left = (asked <= self.thresholds).to(features.dtype)
        reached = torch.matmul(goes_left.transpose(0, 1), self.paths).transpose(0, 1) == self.lefts
        logits: Tensor = (reached.to(features.dtype) * self.values).sum(dim=(1, 2)) + self.base
        return logits


def planted(ensembles: Trees) -> Forest:
    """The fitted ensembles as one Forest that says the mean of their log-odds, exactly; 0 where there is none."""
    if not ensembles:
        return Forest((0, 0, 0))
    trees = [nodes for ensemble in ensembles for nodes in _trees(ensemble)]
    inner = max(int((~nodes["is_leaf"].astype(bool)).sum()) for nodes in trees)
    leaves = max(int(nodes["is_leaf"].sum()) for nodes in trees)
    forest = Forest((len(trees), inner, leaves))
    for at, nodes in enumerate(trees):
        _plant(forest, at, nodes, inner)
    forest.values /= len(ensembles)
    forest.base.fill_(float(np.mean([_base(ensemble) for ensemble in ensembles])))
    return forest


def grown(pairs: Pairs, seed: int) -> Trees:
    """Ensembles on all pairs, from different seeds."""
    return [boosted(pairs.features, pairs.labels, seed + each) for each in range(SEEDS)]


def out_of_fold(pairs: Pairs, seed: int) -> Floats:
    """What such a forest says of each pair, (N,), when it has seen neither the pair nor another of the same mail.

    Raises BadPairs where there is but one mail."""
    logits, mails = np.zeros(len(pairs), dtype=np.float32), pairs.mails()[1]
    if mails.max() == 0:
        raise BadPairs("all mails have the same words; give a mailbox of several")
    for learned, judged in GroupKFold(min(FOLDS, mails.max() + 1)).split(pairs.features, groups=mails):
        logits[judged] = said(grown(pairs.take(learned), seed), pairs.features[judged])
    return logits


def said(ensembles: Trees, features: Floats) -> Floats:
    """The mean of the ensembles' log-odds, (N,); 0 where there is none."""
    if len(features) == 0 or not ensembles:  # scikit-learn refuses to say nothing about nothing
        return np.zeros(len(features), dtype=np.float32)
    return np.mean([each.decision_function(features) for each in ensembles], axis=0, dtype=np.float64).astype("float32")


def _trees(ensemble: HistGradientBoostingClassifier) -> Iterable[Any]:
    return (predictors[0].nodes for predictors in ensemble._predictors)


def _base(ensemble: HistGradientBoostingClassifier) -> float:
    return float(np.ravel(ensemble._baseline_prediction)[0])


def _plant(forest: Forest, at: int, nodes: Any, inner: int) -> None:
    """Writes one tree's questions and paths."""
    for leaf, (value, path) in enumerate(_leaves(nodes, 0, ())):
        forest.values[at, leaf] = value
        forest.lefts[at, leaf] = float(sum(is_left for _, is_left in path))
        for node, is_left in path:
            forest.paths[at, node, leaf] = 1.0 if is_left else -1.0
    for node, row in _questions(nodes):
        forest.asked[at * inner + node] = int(row["feature_idx"])
        forest.thresholds[at, node] = _float32_at_most(row["num_threshold"])


def _leaves(nodes: Any, at: int, path: tuple[tuple[int, bool], ...]) -> Iterator[tuple[float, Any]]:
    """Each leaf's value, and the inner nodes (numbered among themselves) on the way to it, each with whether left."""
    row = nodes[at]
    if row["is_leaf"]:
        yield float(row["value"]), path
        return
    number = int((~nodes["is_leaf"][:at].astype(bool)).sum())
    yield from _leaves(nodes, int(row["left"]), (*path, (number, True)))
    yield from _leaves(nodes, int(row["right"]), (*path, (number, False)))


def _questions(nodes: Any) -> Iterator[tuple[int, Any]]:
    return enumerate(row for row in nodes if not row["is_leaf"])


def _float32_at_most(threshold: float) -> float:
    """The largest float32 that is not above, so that float32 features are told apart as float64 ones are."""
    near = np.float32(threshold)
    return float(near if near <= threshold else np.nextafter(near, np.float32(-np.inf)))
