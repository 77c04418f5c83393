"""What a peer is: fitted on some pairs, it judges others, by what was known when each of their mails arrived."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import HashingVectorizer

from data.history import FEATURES
from training.pairs import Pairs
from training.progress import chunks

Scores = NDArray[np.float64]
Rows = NDArray[np.intp]

WIDTH = 2**20
WHO = 0.5  # what a token for people weighs, where the words of a mail make a vector of length 1

_WORDS = HashingVectorizer(n_features=WIDTH, ngram_range=(1, 2), binary=True, alternate_sign=False, dtype=np.float32)
_PEOPLE = HashingVectorizer(
    n_features=WIDTH, analyzer=str.split, norm=None, binary=True, alternate_sign=False, dtype=np.float32
)


class Material:
    """Pairs in order of time, as the peers read them; the words are hashed once, when a peer asks."""

    def __init__(self, pairs: Pairs, words: Callable[[], csr_matrix] | None = None) -> None:
        self.pairs = pairs
        self._words = words or (lambda: _vectors(pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, rows: Rows) -> "Material":
        """The material of these rows; its words are part of this one's."""
        return Material(self.pairs.take(rows), lambda: self.words[rows])

    @cached_property
    def words(self) -> csr_matrix:
        """(N, WIDTH) hashed: words and pairs of words, of length 1 a mail, and tokens for who writes to whom, how."""
        return self._words()


# `judge(stream, rows)`: scores from 0 to 1, (len(rows),), of these rows of the stream. What a peer learns on the way
# comes from outcomes that were settled before the mail that it judges.
Judge = Callable[[Material, Rows], Scores]

# `fit(learned, seed)`: from material to a judge.
Peer = Callable[[Material, int], Judge]


def _vectors(pairs: Pairs) -> csr_matrix:
    people = list(_people(pairs))
    parts = chunks(range(len(pairs)), "words", 2_000)
    return vstack([_hashed(pairs.texts, people, part) for part in parts], format="csr")


def _hashed(texts: Sequence[str], people: Sequence[str], rows: Sequence[int]) -> csr_matrix:
    words = _WORDS.transform([texts[row] for row in rows])
    return words + WHO * _PEOPLE.transform([people[row] for row in rows])


def _people(pairs: Pairs) -> Iterator[str]:
    """Tokens that no word can be, because the words' analyzer drops their signs."""
    is_to, is_reply = (pairs.features[:, FEATURES.index(name)] > 0 for name in ("is_to", "is_reply"))
    for row, addresses in enumerate(zip(pairs.senders, pairs.recipients, strict=True)):
        sender, recipient = (address.replace(" ", "_") for address in addresses)
        yield f"<{sender} >{recipient} <{sender}>{recipient} =to{is_to[row]:d} =re{is_reply[row]:d}"
