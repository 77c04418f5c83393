"""The history of two people as the store has it: counters under keyed digests, read at the moment of the decision."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

from data import history
from data.history import Counter
from data.schema import Message
from serving.observation import Increment, Observation, Reaction
from serving.sealing import LookupKey

REMEMBERED = 4096
"""Names whose digests are at hand: a mail's are asked for twice, and the next mail's of the same people again."""


class Reader(Protocol):
    """What is asked of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


class History:
    """Reads counters for a (message, recipient) and names what the mail adds to them; the store never sees a name."""

    def __init__(self, reader: Reader, lookup: LookupKey) -> None:
        self._reader = reader
        self._lookup = lookup
        self._digest = lru_cache(REMEMBERED)(lookup.counter)

    async def counters(self, message: Message, recipient: str) -> dict[str, Counter]:
        """The counters that `data.history.features` needs, by name; one that was never written is absent.

        Raises:
            BrokerUnavailable: nobody can tell now.
        """
        keys = history.keys(message, recipient)
        found = await self._read(keys.first)
        return found | await self._read(keys.second(found))

    async def offset(self, recipient: str) -> float:
        """How far reactions have moved the recipient's urgent threshold, in log-odds. Raises BrokerUnavailable."""
        (row,) = await self._reader.query("offset", recipient=self._lookup.address(recipient).hex())
        return float(row["log_odds"])

    def observation(
        self, message: Message, recipient: str, ordinal: int, counters: Mapping[str, Counter]
    ) -> Observation:
        """What the arrival adds now, and what a reaction will add."""
        seen = history.seen(message, recipient, ordinal, counters)
        reactions = history.acted(message, recipient, history.place(message, recipient, counters))
        digest = self._digest
        return Observation(
            tuple(Increment(digest(one.key), one.count, one.at, one.link) for one in seen),
            tuple(Reaction(digest(one.key), one.until) for one in reactions),
        )

    async def _read(self, names: tuple[str, ...]) -> dict[str, Counter]:
        by_digest = {self._digest(name).hex(): name for name in names}
        rows = await self._reader.query("counters", keys=list(by_digest))
        return {by_digest[row["key"]]: Counter(row["count"], row["last"], int(row["link"])) for row in rows}
