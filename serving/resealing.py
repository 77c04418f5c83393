"""Re-seals what lies under old keys, in small batches beside the stages; the broker sees neither key nor plaintext.

A blob takes the place of the old one only where that still stands. So this may be killed at any moment and run again,
twice at once as well: what was done lies under the newest key and is not read again. A stage that holds an old blob
goes on with it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from serving.errors import Unsealable
from serving.insisting import insist
from serving.sealing import Purpose, UnsealingKey

PURPOSE_OF: Mapping[str, Purpose] = {
    "body": "content",
    "address": "content",
    "recipient": "content",
    "certificate": "content",
    "envelope": "delivery",
    "escalation": "content",
    "results": "content",
    "lists": "content",
}
"""What the store keeps sealed, in the broker's words, and the key that opens it."""
HEAD = 36
"""Octets that no two sealings have in common: the key's id, and the public key made for this one."""
PASSES = 3


class Store(Protocol):
    """What resealing asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """So many blobs of `total` were looked at; `seconds_left` is None until something can be said."""

    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """How it ended. `left`: blobs under each key that is not the newest of its purpose, by (purpose, hexadecimal id).
    `unopened` did not open: their key is gone, or they were altered."""

    replaced: int
    unopened: int
    left: Mapping[tuple[Purpose, str], int]


class Resealing:
    """One run; `told` hears of every batch, `clock` is monotonic seconds."""

    def __init__(
        self,
        store: Store,
        keys: Mapping[Purpose, UnsealingKey],
        told: Callable[[Progress], None],
        *,
        batch: int = 200,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._keys, self._told, self._batch, self._clock = store, keys, told, batch, clock
        self._began = clock()
        self._total = self._done = self._replaced = self._unopened = 0

    async def run(self) -> Report:
        """Everything, and again what came under an old key meanwhile; an absent broker is waited for."""
        for _ in range(PASSES):
            left = await self._left()
            self._total, self._unopened, before = self._done + sum(left.values()), 0, self._replaced
            self._tell()
            for what in PURPOSE_OF:
                await self._all(what)
            if self._replaced == before:
                break
        return Report(self._replaced, self._unopened, await self._left())

    async def _left(self) -> Counter[tuple[Purpose, str]]:
        return left_under_old(await insist(lambda: blobs_by_key(self._store)), self._newest)

    def _newest(self, purpose: Purpose) -> str:
        return self._keys[purpose].sealing_key.id.hex()

    async def _all(self, what: str) -> None:
        after = ""
        while page := await self._page(what, after):
            after = page[-1]["id"]
            rows = await asyncio.to_thread(self._resealed, what, page)
            if rows:
                answer = await insist(lambda rows=rows: self._store.execute("reseal", what=what, rows=rows))  # type: ignore[misc]
                self._replaced += answer["replaced"]
            self._done += len(page)
            self._tell()

    async def _page(self, what: str, after: str) -> list[dict[str, Any]]:
        current = self._newest(PURPOSE_OF[what])
        return await insist(
            lambda: self._store.query("sealed_page", what=what, current=current, after=after, count=self._batch)
        )

    def _resealed(self, what: str, page: list[dict[str, Any]]) -> list[dict[str, str]]:
        key, rows = self._keys[PURPOSE_OF[what]], []
        for row in page:
            sealed = bytes.fromhex(row["sealed"])
            try:
                fresh = key.sealing_key.seal(key.unseal(sealed))
            except Unsealable:
                self._unopened += 1
            else:
                rows.append({"id": row["id"], "head": sealed[:HEAD].hex(), "sealed": fresh.hex()})
        return rows

    def _tell(self) -> None:
        self._total = max(self._total, self._done)
        took = self._clock() - self._began
        left = took / self._done * (self._total - self._done) if self._done else None
        self._told(Progress(self._done, self._total, left))


async def blobs_by_key(store: Store) -> Counter[tuple[Purpose, str]]:
    """How many blobs the store keeps under each key, by purpose and id in hexadecimal; all of them are looked at."""
    found: Counter[tuple[Purpose, str]] = Counter()
    for row in await store.query("sealed_counts"):
        found[PURPOSE_OF[row["what"]], row["key"]] += row["count"]
    return found


def left_under_old(
    counts: Counter[tuple[Purpose, str]], newest: Callable[[Purpose], str]
) -> Counter[tuple[Purpose, str]]:
    """Those under another key than the newest of their purpose."""
    return Counter({key: count for key, count in counts.items() if key[1] != newest(key[0])})
