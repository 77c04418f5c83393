"""Who hears what recipients tell by the links in our mails: a reaction to a notification, or fewer digests."""

from collections.abc import Callable
from typing import Any, Protocol

from serving.errors import Refused
from serving.web.desk import BadToken
from serving.web.react import Matter
from serving.web.token import Links
from serving.wishes.wish import fewer_digests

TRIES = 5


class Broker(Protocol):
    """What is asked of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


class Reactions:
    """Hears `acknowledged`, `was_urgent` and `not_urgent` of one notification, each once."""

    def __init__(self, broker: Broker, links: Links, clock: Callable[[], float]) -> None:
        self._broker = broker
        self._links = links
        self._clock = clock

    async def matter(self, token: str) -> Matter:
        """See `serving.web.react.Ear`."""
        id_, kind = self._links.reaction.read(token, self._clock())
        rows = await self._broker.query("notification", id=str(id_))
        if not rows:
            raise BadToken("forged")
        events = await self._broker.query("events", id=str(id_))
        principals = await self._broker.query("principal", id=rows[0]["principal"])
        sender = principals[0]["name"] if principals else "Clarion"
        is_told = any(event["kind"] == kind for event in events)
        return Matter(kind, sender, rows[0]["accepted_at"], is_told)

    async def hear(self, token: str) -> Matter:
        """See `serving.web.react.Ear`."""
        now = self._clock()
        id_, kind = self._links.reaction.read(token, now)
        try:
            await self._broker.execute("react", id=str(id_), kind=kind, at=now)
        except Refused as refused:
            if refused.reason != "not_found":
                raise
            raise BadToken("forged") from None
        return await self.matter(token)


class Subscriptions:
    """Hears that a recipient wants fewer digests: it becomes a wish, which `clarion recipient wishes` changes back."""

    def __init__(self, broker: Broker, links: Links, clock: Callable[[], float]) -> None:
        self._broker = broker
        self._links = links
        self._clock = clock

    async def matter(self, token: str) -> Matter:
        """See `serving.web.react.Ear`."""
        held = await self._held(token)
        return Matter("unsubscribe", is_told=fewer_digests(held["wishes"]) == held["wishes"])

    async def hear(self, token: str) -> Matter:
        """See `serving.web.react.Ear`."""
        for _ in range(TRIES):
            held = await self._held(token)
            wishes = fewer_digests(held["wishes"])
            answer = await self._broker.execute(
                "change_wishes", lookup=held["lookup"], wishes=wishes, held=held["wishes"]
            )
            if answer["changed"]:
                break
        return await self.matter(token)

    async def _held(self, token: str) -> dict[str, Any]:
        lookup = self._links.unsubscribe.read(token, self._clock())
        rows = await self._broker.query("recipient", lookup=lookup.hex())
        if not rows:
            raise BadToken("forged")
        return rows[0]
