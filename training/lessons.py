"""Who learns from what: trees from every training pair, the encoder from some mails, the head from the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.notices import Notice, read_notices
from training.borrowed import borrowed
from training.config import TREES, Config
from training.forest import Floats, Trees, grown, out_of_fold, said
from training.pairs import Pairs

STRESS, SWAY = 2.5, 0.5  # log-odds; a sender who is never answered (-6) is still heard when something burns (-0.5)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pairs; what trees that have not seen them say of each, log-odds; and the probability to learn: (N,) each."""

    pairs: Pairs
    habit: Floats
    targets: Floats

    def take(self, rows: NDArray[np.intp]) -> "Lesson":
        """The pairs of these rows, in that order."""
        return Lesson(self.pairs.take(rows), self.habit[rows], self.targets[rows])

    def with_(self, other: "Lesson") -> "Lesson":
        """Both, one after the other."""
        return Lesson(
            self.pairs.joined(other.pairs),
            np.concatenate([self.habit, other.habit]),
            np.concatenate([self.targets, other.targets]),
        )


@dataclass(frozen=True, slots=True)
class Lessons:
    """The trees, the encoder's lesson, the head's, and the invented notices that nothing learns from."""

    trees: Trees
    encoder: Lesson
    head: Lesson
    held_out: Pairs


def prepare(everything: Pairs, config: Config) -> Lessons:
    """Grows the trees and divides the training pairs by mail; the invented notices go to encoder and head alike.

    The encoder is to learn their words, so it gets their bare labels; what weighs words against history gets them
    `stressed`: the head, or the encoder's own where no mails are left to fit one.

    Without trees the model starts from even odds. Raises BadNotices.
    """
    with_trees = config.history == TREES
    trees = grown(everything, config.seed) if with_trees else ()
    teacher = out_of_fold(everything, config.seed) if with_trees or config.taught_by_trees else None
    habit = teacher if with_trees and teacher is not None else np.zeros(len(everything), dtype=np.float32)
    real = answered(everything, habit)
    if config.taught_by_trees and teacher is not None:
        real = taught(real, teacher, config.taught_by_trees)
    first, rest = everything.split_by_mail(config.train_pairs, config.seed)
    then = rest[everything.take(rest).split_by_mail(config.head_pairs, config.seed)[0]]
    notices = tuple(read_notices(Path(config.notices))) if config.notices else ()
    lent = partial(_lent, everything=everything, config=config)
    borrowing = lent([each for each in notices if not each.held_out])
    habit_lent = said(trees, borrowing.features)
    spoken, weighed = answered(borrowing, habit_lent), stressed(borrowing, habit_lent)
    return Lessons(
        trees=trees,
        encoder=real.take(first).with_(spoken if len(rest) else weighed),
        head=real.take(then).with_(weighed),
        held_out=lent([each for each in notices if each.held_out]),
    )


def answered(pairs: Pairs, habit: Floats) -> Lesson:
    """Real pairs: what became of each is what there is to learn."""
    return Lesson(pairs, habit, pairs.labels.astype(np.float32))


def taught(lesson: Lesson, teacher: Floats, share: float) -> Lesson:
    """The lesson with targets of which `share` is what a teacher, log-odds (N,), says (Hinton et al. 2015)."""
    targets = (1.0 - share) * lesson.targets + share / (1.0 + np.exp(-teacher))
    return replace(lesson, targets=targets.astype(np.float32))


def stressed(notices: Pairs, habit: Floats) -> Lesson:
    """Invented notices: urgent or not moves what history says by STRESS, and history keeps SWAY of its own word.

    With the bare label the words would learn that history is nothing; then nobody's reactions could teach them better.
    """
    log_odds = SWAY * habit + np.where(notices.labels == 1, STRESS, -STRESS)
    return Lesson(notices, habit, (1.0 / (1.0 + np.exp(-log_odds))).astype(np.float32))


def _lent(notices: Sequence[Notice], everything: Pairs, config: Config) -> Pairs:
    return borrowed(notices, everything.features, config.notice_copies, config.seed, config.text)
