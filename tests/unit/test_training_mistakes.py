"""What is shown of a model's mistakes: the worst first, and nobody by name."""

import numpy as np

from data.history import FEATURES
from training.mistakes import SUBJECT, contrasts, false_alarms, misses
from training.pairs import Pairs

SCORES = np.array([0.9, 0.2, 0.7, 0.1, 0.6, 0.3])
LABELS = np.array([0, 1, 1, 1, 0, 0])


def judged(features: dict[str, list[float]] | None = None) -> Pairs:
    """Six pairs, of which the second to fourth are urgent."""
    values = np.zeros((6, len(FEATURES)), dtype=np.float32)
    for name, column in (features or {}).items():
        values[:, FEATURES.index(name)] = column
    return Pairs(
        texts=tuple(f"subject {number} {'x' * 90}\na secret {number}" for number in range(6)),
        features=values,
        labels=LABELS,
        dates=np.arange(6.0),
        recipients=("ben@x.invalid",) * 6,
        automated=np.arange(6) % 2 == 0,
        senders=("ada@x.invalid",) * 6,
        people=("ben",) * 6,
        settled=np.arange(6.0),
    )


def test_the_worst_mistakes_come_first() -> None:
    """A list that began with the harmless ones would be read to its first line and believed."""
    alarms, missed = false_alarms(SCORES, judged(), 2), misses(SCORES, judged(), 9)

    assert [each.score for each in alarms] == [0.9, 0.6]
    assert [each.score for each in missed] == [0.1, 0.2, 0.7]
    assert [each.subject.split()[1] for each in missed] == ["3", "1", "2"]


def test_neither_addresses_nor_words_of_a_mail_are_shown() -> None:
    """A notebook is sent to a colleague with its outputs in it."""
    shown = [*false_alarms(SCORES, judged(), 9), *misses(SCORES, judged(), 9)]

    assert all("secret" not in repr(each) and "@" not in repr(each) for each in shown)
    assert {len(each.subject) for each in shown} == {SUBJECT}
    assert len({each.sender for each in shown} | {each.recipient for each in shown}) == 2


def test_the_feature_that_sets_missed_pairs_apart_leads() -> None:
    """Which feature to look at is the question; that lengths are larger than rates is no answer."""
    pairs = judged({"pair_rate": [0, 0, 1, 0, 0, 0], "body_length": [9, 1, 5_000, 5_000, 9, 9]})

    first, second = contrasts(SCORES, pairs, threshold=0.5)

    assert (first.feature, first.missed, first.found) == ("pair_rate", 0.0, 1.0)
    assert (second.feature, second.missed, second.found) == ("body_length", 2_500.5, 5_000.0)
    assert first.difference < second.difference < 0


def test_nothing_is_contrasted_with_nothing() -> None:
    """A model that finds all, or none, has no two groups to compare."""
    pairs = judged({"pair_rate": [0, 0, 1, 0, 0, 0]})

    assert contrasts(SCORES, pairs, threshold=0.0) == []
    assert contrasts(SCORES, pairs, threshold=1.0) == []
