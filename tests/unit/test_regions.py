"""Regions of a pool: never two that overlap, none outside, and what is given back is used again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from serving.queue.regions import Regions

SIZE = 1_000


@given(st.lists(st.one_of(st.integers(1, 400), st.none()), max_size=60), st.randoms(use_true_random=False))
def test_what_is_given_out_never_overlaps(sizes: list[int | None], random: object) -> None:
    """Two bodies in one place would be a stranger's mail in somebody's hands."""
    regions, given_out = Regions(SIZE), dict[int, int]()
    for size in sizes:
        if size is None:
            if given_out:
                offset = random.choice(sorted(given_out))  # type: ignore[attr-defined]
                assert regions.give_back(offset)
                del given_out[offset]
            continue
        offset = regions.take(size)
        if offset is None:
            assert given_out  # an empty pool has room for anything that fits
        else:
            given_out[offset] = size
        ends = sorted((begin, begin + length) for begin, length in given_out.items())
        assert all(before[1] <= after[0] for before, after in pairwise(ends))
        assert not ends or ends[-1][1] <= SIZE


def test_a_region_is_used_again() -> None:
    """That is what a pool is for."""
    regions = Regions(SIZE)
    first, second = regions.take(500), regions.take(400)

    assert (first, regions.take(200)) == (0, None)
    assert regions.give_back(0)
    assert regions.take(450) == 0
    assert second is not None
    assert second >= 500


def test_what_was_not_given_out_cannot_be_given_back() -> None:
    """A peer that releases twice would otherwise free somebody's body."""
    regions = Regions(SIZE)
    offset = regions.take(10)
    assert offset is not None

    assert regions.give_back(offset)
    assert not regions.give_back(offset)
    assert not regions.give_back(64)
    assert regions.take(SIZE + 1) is None
