"""Progress with time left for whatever takes more than a few seconds."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm.auto import tqdm  # type: ignore[import-untyped]

Item = TypeVar("Item")


def chunks(items: Sequence[Item], title: str, size: int = 64) -> Iterator[Sequence[Item]]:
    """The items in slices, with a bar that counts items."""
    with tqdm(total=len(items), desc=title, unit="pair", mininterval=1.0, delay=2.0) as bar:
        for start in range(0, len(items), size):
            yield items[start : start + size]
            bar.update(min(size, len(items) - start))
