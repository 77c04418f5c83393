"""Progress with time left for whatever takes more than a few seconds."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from tqdm.auto import tqdm  # type: ignore[import-untyped]

Item = TypeVar("Item")


def chunks(items: Sequence[Item], title: str, size: int = 64) -> Iterator[Sequence[Item]]:
    """The items in slices, with a bar that counts items."""
    with tqdm(total=len(items), desc=title, unit="pair", mininterval=1.0, delay=2.0) as bar:
        for start in range(0, len(items), size):
            yield items[start : start + size]
            bar.update(min(size, len(items) - start))


def bar(items: Iterable[Item], title: str, total: int, unit: str) -> Iterator[Item]:
    """The items, one by one, with a bar that counts them."""
    return iter(tqdm(items, desc=title, total=total, unit=unit, mininterval=1.0, delay=2.0))


def steps(count: int, title: str) -> Iterator[int]:
    """0 to count - 1, with a bar."""
    return bar(range(count), title, count, "step")
