"""Who learns from what: trees from every training pair, the encoder from some mails, the head from the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data.notices import Notice, read_notices
from training.borrowed import borrowed
from training.config import Config
from training.forest import Floats, Trees, grown, out_of_fold, said
from training.pairs import Pairs


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pairs, and what trees that have not seen them say of each, (N,)."""

    pairs: Pairs
    habit: Floats

    def with_(self, other: "Lesson") -> "Lesson":
        """Both, one after the other."""
        return Lesson(self.pairs.joined(other.pairs), np.concatenate([self.habit, other.habit]))


@dataclass(frozen=True, slots=True)
class Lessons:
    """The trees, the encoder's lesson, the head's, and the invented notices that nothing learns from."""

    trees: Trees
    encoder: Lesson
    head: Lesson
    held_out: Pairs


def prepare(everything: Pairs, config: Config) -> Lessons:
    """Grows the trees and divides the training pairs by mail; the invented notices go to encoder and head alike.

    Raises BadNotices.
    """
    trees, habit = grown(everything, config.seed), out_of_fold(everything, config.seed)
    first, rest = everything.split_by_mail(config.train_pairs, config.seed)
    then = rest[everything.take(rest).split_by_mail(config.head_pairs, config.seed)[0]]
    notices = tuple(read_notices(Path(config.notices))) if config.notices else ()
    lent = partial(_lent, everything=everything, config=config)
    taught = lent([each for each in notices if not each.held_out])
    spoken = Lesson(taught, said(trees, taught.features))
    return Lessons(
        trees=trees,
        encoder=Lesson(everything.take(first), habit[first]).with_(spoken),
        head=Lesson(everything.take(then), habit[then]).with_(spoken),
        held_out=lent([each for each in notices if each.held_out]),
    )


def _lent(notices: Sequence[Notice], everything: Pairs, config: Config) -> Pairs:
    return borrowed(notices, everything.features, config.notice_copies, config.seed, config.text)
