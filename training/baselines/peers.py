"""Every peer, fitted and judged as an evaluation wants it: on the rows on which the model is judged, never on rows that
it was fitted on.

The convention: peers learn from the pairs before the benchmark's first cut, of the tables that are judged or of others
(`basis`). Rows of that very span, and all rows where nothing lies before the cut, are judged by peers fitted on the
other recipients' pairs (five folds by person), so that no peer ever judges a person that it was fitted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.artefact import Certificate
from training.baselines.inbox import priority_inbox
from training.baselines.peer import Material, Peer, Rows, Scores
from training.baselines.rule import rule
from training.baselines.trees import all_trees, trees
from training.baselines.words import words
from training.bound import certify_slices
from training.pairs import BadPairs

PEERS: Mapping[str, Peer] = {
    "rule": rule,
    "words": words,
    "priority_inbox": priority_inbox,
    "boosted_trees": trees,
    "boosted_trees_with_form": all_trees,
}
FOLDS = 5
ALPHA = 0.01  # the share of urgent mail that a peer's certificate lets it lose, as for a champion

Cuts = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Opinion:
    """A peer's scores of the judged rows, and what it is certified to discard; None where nothing was there to certify
    it on."""

    scores: Scores
    certificates: tuple[Certificate, ...] | None


def opinions(stream: Material, rows: Rows, basis: Material, cuts: Cuts, seed: int) -> dict[str, Opinion]:
    """Each peer on these rows of the stream; `basis` may be the stream itself. Raises BadPairs."""
    return {name: _opinion(peer, stream, rows, basis, cuts, seed) for name, peer in PEERS.items()}


def _opinion(peer: Peer, stream: Material, rows: Rows, basis: Material, cuts: Cuts, seed: int) -> Opinion:
    """Rows after the cut by one fit; rows of the span that is learned from by one fit a fold."""
    learned = basis.pairs.rows_between(-np.inf, cuts[0])
    if len(learned) == 0 and basis is stream:
        return Opinion(_crossed(peer, stream, rows, np.arange(len(stream)), seed), None)
    judge = peer(_enough(basis, learned), seed)
    is_own = np.isin(rows, learned) if basis is stream else np.zeros(len(rows), dtype=np.bool_)
    scores = np.zeros(len(rows), dtype=np.float64)
    if is_own.any():
        scores[is_own] = _crossed(peer, stream, rows[is_own], learned, seed)
    if not is_own.all():
        scores[~is_own] = judge(stream, rows[~is_own])
    held_out = basis.pairs.rows_between(*cuts)
    return Opinion(scores, _certificates(judge(basis, held_out), basis.take(held_out)))


def _crossed(peer: Peer, stream: Material, rows: Rows, learned: Rows, seed: int) -> Scores:
    """The rows of each fold of people, judged by a fit on the others' rows among `learned`."""
    names, codes = np.unique(np.asarray(stream.pairs.people), return_inverse=True)
    folds = np.random.default_rng(seed).permutation(len(names))[codes] % FOLDS
    scores = np.zeros(len(rows), dtype=np.float64)
    for fold in range(FOLDS):
        of_fold = folds[rows] == fold
        if of_fold.any():
            others = learned[folds[learned] != fold]
            scores[of_fold] = peer(_enough(stream, others), seed)(stream, rows[of_fold])
    return scores


def _certificates(scores: Scores, held_out: Material) -> tuple[Certificate, ...] | None:
    pairs = held_out.pairs
    if len(pairs) == 0:
        return None
    return certify_slices(scores, pairs.labels, pairs.recipients, pairs.automated, alpha=ALPHA)


def _enough(material: Material, rows: Rows) -> Material:
    """The material of these rows, if something can be learned from it."""
    labels = material.pairs.labels[rows]
    if len(labels) == 0 or labels.min() == labels.max():
        raise BadPairs(
            "the peers have too few pairs to learn from; name tables for them with --peers-from M I, or leave them out "
            "with --no-peers"
        )
    return material.take(rows)
