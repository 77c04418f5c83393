"""Tells the store what a recipient's mailbox says, each thing once."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from serving.web.token import Reaction


class Broker(Protocol):
    """What is asked of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


class Hearing:
    """Of the owner of these addresses (lookups, hexadecimal) alone: the field that names a notification can be written
    by anybody, so it counts only where the notification is the owner's."""

    def __init__(self, broker: Broker, lookups: Iterable[str], clock: Callable[[], float]) -> None:
        self._broker = broker
        self._lookups = frozenset(lookups)
        self._clock = clock
        self._told: set[tuple[int, Reaction]] = set()

    async def hear(self, notification: int, reactions: Iterable[Reaction]) -> int | None:
        """Store the reactions; how many the store had not heard before, None where the notification is not the owner's.

        Raises:
            BrokerUnavailable: nobody has heard it; say it again.
        """
        missing = [each for each in sorted(reactions) if (notification, each) not in self._told]
        if not missing:
            return 0
        rows = await self._broker.query("notification", id=str(notification))
        if not rows or rows[0]["recipient"] not in self._lookups:
            return None
        return sum([await self._tell(notification, each) for each in missing])

    async def _tell(self, notification: int, reaction: Reaction) -> bool:
        answer = await self._broker.execute("react", id=str(notification), kind=reaction, at=self._clock())
        self._told.add((notification, reaction))
        return bool(answer["fresh"])
