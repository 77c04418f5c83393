"""A worker of escalation that is killed anywhere, or too slow: each step comes in its time, once, and none is lost."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import Refused
from serving.escalation.chain import Chain, Person, Push, Step
from serving.escalation.push import Result
from serving.escalation.stage import TRIES, UNKNOWN
from serving.queue.store import hops
from serving.queue.store.hops import LeaseName
from tests.integration.escalating import DAY, GRACE, HEDY, MINUTE, World
from tests.integration.peers import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


class TestCrashes:
    @pytest.mark.parametrize("sign", [-1, 1])
    @pytest.mark.parametrize("commit", range(1, 22))
    def test_a_worker_killed_at_any_commit_asks_nobody_twice(self, store: Store, commit: int, sign: int) -> None:
        """Before it or after it: persons get one mail a step, channels one alarm more at most; nobody is left out."""
        world = World(store, deadly=frozenset({sign * commit}))
        began = store.now
        _, watch = world.delivered()
        world.run(DAY)
        steps = [(each[2]["round"], each[2]["step"]) for each in world.children()]
        pushed = Counter(round((each[0] - began) / MINUTE) for each in world.pushes)

        assert steps == [(1, 1), (1, 3), (2, 1), (2, 3)]
        assert sorted(pushed) == [15, 50]
        assert pushed.total() <= 3
        assert store.row(watch)["state"] == "dead"

    def test_a_worker_that_was_too_slow_does_nothing_that_the_next_one_does(self, store: Store) -> None:
        """Its lease is over and another has it: its note is refused before it pushes, and its mail is the same mail."""
        world = World(store)
        world.delivered()
        for minutes in (10, 5):
            world.run(minutes * MINUTE - 1)
            store.now += 1
            (claimed,) = store.claim("escalation")
            slow = LeaseName(claimed.row["id"], claimed.row["fence"], "1:1")
            store.now += 61
            store.do(hops.release_expired)
            asyncio.run(world.turn("2:2"))
            with pytest.raises(Refused, match="lease_lost"):
                asyncio.run(world.work(slow, claimed))
            world.run(0)

        assert [each[2]["step"] for each in world.children()] == [1]
        assert len(world.pushes) == 1


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    people = st.sampled_from([Person(GRACE), Person(HEDY), Push("ntfys://a.example/b")])
    waits = st.integers(1, 1_000).map(lambda seconds: seconds * 7.0)
    steps = draw(st.lists(st.builds(Step, waits, people), min_size=1, max_size=4))
    return Chain(tuple(steps), draw(st.integers(1, 3)))


@settings(max_examples=20, deadline=None)
@given(
    chain=chains(),
    deadly=st.frozensets(st.integers(-40, 40).filter(bool), max_size=4),
    results=st.lists(st.sampled_from(get_args(Result)), max_size=12),
    acknowledged=st.none() | st.integers(0, 20_000),
)
def test_no_step_comes_too_soon_or_twice_and_all_come_unless_somebody_acknowledges(
    chain: Chain, deadly: frozenset[int], results: list[Result], acknowledged: int | None
) -> None:
    """Whatever the chain, whenever the worker is killed, and whatever becomes of pushes."""
    with TemporaryDirectory() as folder, closing(Store(Path(folder) / "store")) as store:
        world = World(store, chain, deadly, list(results))
        id_, watch = world.delivered()
        if acknowledged is not None:
            world.run(acknowledged)
            world.react(id_)
        said_at = store.now
        world.run(30 * DAY)
        children = [(each[2]["round"], each[2]["step"]) for each in world.children()]
        events = store.sql("SELECT at, kind, detail FROM event WHERE notification = :id ORDER BY seq", id=watch)
    rounds, steps = range(1, chain.rounds + 1), range(1, len(chain.steps) + 1)
    taken = [(row["at"], json.loads(row["detail"])["escalated"]) for row in events if row["kind"] == "escalated"]
    pushed = [json.loads(row["detail"])["push"] for row in events if row["kind"] == "pushing"]
    is_over = events[-1]["kind"] == "exhausted"

    assert is_over or (events[-1]["kind"] == "acknowledged" and acknowledged is not None)
    assert not is_over or len(taken) == len(rounds) * len(steps)
    assert acknowledged is None or (events[-1]["at"] <= said_at if is_over else events[-1]["at"] >= said_at)
    whole = [(round_, step) for round_ in rounds for step in steps]
    assert [(step["round"], step["step"]) for _, step in taken] == whole[: len(taken)]
    assert len(children) == len(set(children))
    assert all(begun < TRIES + UNKNOWN for _, _, begun, _ in pushed)
    assert is_over or all(at <= said_at for at, _ in taken)
    last, is_lost = 1_000_000.0, False
    for at, step in taken:
        wait = 0.0 if is_lost and step["step"] > 1 else chain.steps[step["step"] - 1].after
        assert at >= last + wait
        last, is_lost = at, step.get("failed", False)
