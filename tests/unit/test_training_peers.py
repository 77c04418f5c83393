"""The peers are honest: they learn something, and never from what they judge or from what was not known yet."""

from dataclasses import replace

import numpy as np
import pytest

from data.history import FEATURES
from training.baselines.inbox import priority_inbox
from training.baselines.peer import Judge, Material, Rows, Scores
from training.baselines.peers import PEERS, opinions
from training.pairs import BadPairs, Pairs

DAY = 86_400.0
CUTS = (100 * DAY, 150 * DAY)


def pairs(count: int = 200, seed: int = 0) -> Pairs:
    """A mail a day: what is asked of few is answered, and Eve answers whatever it is."""
    random = np.random.default_rng(seed)
    people = [f"p{number % 10}" for number in range(count)]
    asks = random.random(count) < 0.5
    features = random.random((count, len(FEATURES))).astype(np.float32)
    features[:, FEATURES.index("recipient_count")] = np.where(asks, 1.0, 9.0)
    labels = np.where(random.random(count) < 0.1, ~asks, asks).astype(np.int64)
    dates = np.arange(count, dtype=np.float64) * np.float64(DAY)
    return Pairs(
        tuple("please look now" if ask else "weekly news" for ask in asks), features, labels, dates,
        tuple(f"{who}@x.invalid" for who in people), random.random(count) < 0.1,
        ("ada@x.invalid",) * count, tuple(people), dates + 3_600.0,
    )  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_tells_the_answered_from_the_rest(name: str) -> None:
    """A peer that learns nothing is a straw man."""
    material = Material(pairs())
    rows = np.arange(100, 200)

    scores = PEERS[name](material.take(np.arange(100)), 0)(material, rows)

    labels = material.pairs.labels[rows]
    assert scores.shape == (100,)
    assert np.all((scores >= 0) & (scores <= 1))
    assert scores[labels == 1].mean() > scores[labels == 0].mean() + 0.1


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_the_same_for_the_same_seed(name: str) -> None:
    """A comparison that cannot be made again does not count."""
    material, rows = Material(pairs()), np.arange(100, 200)

    first, second = (PEERS[name](material, 3)(material, rows) for _ in range(2))

    assert np.array_equal(first, second)


def test_an_offset_moves_with_outcomes_that_are_known_and_no_others() -> None:
    """Priority Inbox learns from each reaction; learning from one that has not happened yet would be cheating."""
    given = pairs()
    judge = priority_inbox(Material(given.take(np.arange(100))), 0)
    labels, settled = given.labels.copy(), given.settled.copy()
    labels[120] = 1 - labels[120]
    settled[120] = given.dates[140] - 1.0
    late = replace(given, settled=settled)

    same, other = (judge(Material(each), np.arange(200)) for each in (late, replace(late, labels=labels)))

    mine = np.array([who == given.people[120] for who in given.people])
    assert np.array_equal(same[:140], other[:140])
    assert np.array_equal(same[~mine], other[~mine])
    assert np.all(same[140:][mine[140:]] != other[140:][mine[140:]])


class Memory:
    """A peer that notes whom it was fitted on and whom it judges."""

    def __init__(self) -> None:
        self.met: list[tuple[set[float], set[float], set[str], set[str]]] = []

    def __call__(self, learned: Material, seed: int) -> Judge:  # noqa: ARG002
        def judge(stream: Material, rows: Rows) -> Scores:
            judged = stream.pairs.take(rows)
            dates = set(learned.pairs.dates.tolist()), set(judged.dates.tolist())
            self.met.append((*dates, set(learned.pairs.people), set(judged.people)))
            return np.full(len(rows), 0.5)

        return judge


@pytest.mark.parametrize("first", [0, 100, 150])
def test_no_peer_judges_a_row_that_it_was_fitted_on(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """Trees remember; on their own rows they would beat every model, and mean nothing."""
    memory, material = Memory(), Material(pairs())
    monkeypatch.setattr("training.baselines.peers.PEERS", {"memory": memory})

    opinions(material, np.arange(first, 200), material, CUTS, 0)

    assert memory.met
    for learned, judged, known, strangers in memory.met:
        assert not learned & judged
        assert max(learned) < CUTS[0]
        assert min(judged) >= CUTS[0] or not known & strangers


def test_without_pairs_before_the_cut_the_folds_learn_from_other_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mailbox that begins after the benchmark's cut must still have peers."""
    memory, material = Memory(), Material(pairs())
    monkeypatch.setattr("training.baselines.peers.PEERS", {"memory": memory})

    (opinion,) = opinions(material, np.arange(200), material, (-1.0, 0.0), 0).values()

    assert opinion.certificates is None
    assert len(memory.met) == 5
    assert all(not known & strangers for _, _, known, strangers in memory.met)
    assert set.union(*(judged for _, judged, _, _ in memory.met)) == set(material.pairs.dates.tolist())


def test_peers_without_anything_to_learn_from_say_what_to_do() -> None:
    """A traceback of a library would not name the option that helps."""
    given = pairs()
    silent = Material(replace(given, labels=np.where(given.dates < CUTS[0], 0, given.labels)))

    with pytest.raises(BadPairs, match="--peers-from M I, or leave them out with --no-peers"):
        opinions(silent, np.arange(150, 200), silent, CUTS, 0)
