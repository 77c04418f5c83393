"""Which rows an evaluation judges, and which its peers learn from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.table import read_interactions
from training.baselines.peer import Material, Rows
from training.config import Config
from training.pairs import BadPairs, Pairs, check_labels, check_recipients, load_pairs

LABEL = "replied_24h"


@dataclass(frozen=True, slots=True)
class Tables:
    """A pair of files with the benchmark's columns."""

    messages: Path
    interactions: Path

    def pairs(self, *, only: str = "", without: str = "") -> Pairs:
        """Their pairs with history. Raises BadPairs and BadTable."""
        return load_pairs(self.messages, self.interactions, LABEL, only=only, without=without)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; `limit` 0 takes all, `held_out_list` "" judges every list."""

    tables: Tables
    split: str | None = None
    limit: int = 0
    seed: int = 0
    held_out_list: str = ""
    peers_from: Tables | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`judged` are rows of `stream`, which is everything in order of time; peers learn from `basis`, None for none."""

    stream: Material
    judged: Rows
    basis: Material | None


def cuts() -> tuple[float, float]:
    """Where training ends and where testing begins, seconds since the epoch."""
    return Config("benchmark").cuts


def select(wanted: Wanted, *, peers: bool) -> Benchmark:
    """The rows. Raises BadPairs where a split selects nothing or nothing can be measured on it, and BadTable."""
    stream = wanted.tables.pairs(only=wanted.held_out_list)
    rows = rows_of(stream, wanted.split)
    if wanted.held_out_list:
        rows = rows[_is_stranger(stream, wanted)[rows]]
    rows = drawn(rows, wanted.limit, wanted.seed)
    _check(stream, rows, f"split {wanted.split}" if wanted.split else "the tables")
    material = Material(stream)
    return Benchmark(material, rows, _basis(wanted, material) if peers else None)


def rows_of(stream: Pairs, split: str | None) -> Rows:
    """The rows of a split of the global time cut; all of them without one."""
    start, end = cuts()
    spans = {None: (-np.inf, np.inf), "train": (-np.inf, start), "validation": (start, end), "test": (end, np.inf)}
    return stream.rows_between(*spans[split])


def drawn(rows: Rows, limit: int, seed: int) -> Rows:
    """`limit` of the rows, drawn without replacement, in order of time; all where limit is 0 or too many."""
    if not 0 < limit < len(rows):
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


def _check(stream: Pairs, rows: Rows, what: str) -> None:
    if len(rows) == 0:
        raise BadPairs(f"{what}: selects no pair; leave --split out, or name one that these tables reach into")
    judged = stream.take(rows)
    check_labels(judged, what)
    check_recipients(judged, what)


def _is_stranger(stream: Pairs, wanted: Wanted) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which rows are for somebody, by address and by name, whom no pair of another list is for."""
    others = [pair for pair in read_interactions(wanted.tables.interactions) if pair.list != wanted.held_out_list]
    known = {pair.recipient for pair in others} | {pair.recipient_id for pair in others}
    people = zip(stream.recipients, stream.people, strict=True)
    return np.array([not known & {address, person} for address, person in people], dtype=np.bool_)


def _basis(wanted: Wanted, stream: Material) -> Material:
    if wanted.peers_from is not None:
        return Material(wanted.peers_from.pairs())
    if wanted.held_out_list:
        return Material(wanted.tables.pairs(without=wanted.held_out_list))
    return stream
