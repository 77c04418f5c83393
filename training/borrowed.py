"""Invented notices as training pairs: their own words and form, and the history of somebody else.

Nobody has a history with an invented sender. Each notice is shown with none, as a new customer's first mail, and with
that of pairs drawn from real mail, so that what it says has to decide whatever was before.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from data.history import FEATURES, SOCIAL, features
from data.notices import RECIPIENT, Notice
from training.pairs import Pairs
from training.render import render

ADDRESSED = SOCIAL[: SOCIAL.index("parent_replies")]  # what the notice itself says of its address is not borrowed


def borrowed(notices: Iterable[Notice], lenders: NDArray[np.float32], copies: int, seed: int, text: str) -> Pairs:
    """Every notice without history and `copies` - 1 times with a history drawn from `lenders`, (N, F) features.

    The columns that only serve to cut by time or to tell people apart are empty.
    """
    random = np.random.default_rng(seed)
    rows = [(notice, copy) for notice in notices for copy in range(copies)]
    social = slice(len(ADDRESSED), len(SOCIAL))
    values = np.zeros((len(rows), len(FEATURES)), dtype=np.float32)
    for at, (notice, copy) in enumerate(rows):
        values[at] = features(notice.message, RECIPIENT, {})
        if copy:
            values[at, social] = lenders[random.integers(len(lenders)), social]
    nobody = ("",) * len(rows)
    return Pairs(
        texts=tuple(render(each.message, RECIPIENT, values[at], text).text for at, (each, _) in enumerate(rows)),
        features=values,
        labels=np.array([each.urgent for each, _ in rows], dtype=np.int64),
        dates=np.zeros(len(rows)),
        recipients=nobody,
        automated=np.array([each.message.is_automated for each, _ in rows], dtype=np.bool_),
        senders=nobody,
        people=nobody,
        settled=np.zeros(len(rows)),
    )
