"""The stage that sees to it that a person has what is urgent: while nobody acknowledges it, it goes to the next channel
or the next person of the recipient's chain.

What waits here is a watch: a notification of our own about another one. It is claimed when its time has come, and woken
as soon as the watched one ends or somebody acknowledges it. It holds the content key, for chains lie sealed.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from serving.acknowledging import AcknowledgeLinks
from serving.errors import Refused, Temporary
from serving.escalation.chain import Chain, Person, Place, Push, read_chain
from serving.escalation.push import Result
from serving.pipeline import Acknowledged, Escalated, Exhausted, Stage, Unwatched, Watching
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work
from serving.web.amounts import utc

TRIES = 3
"""Pushes of one step that may fail."""
UNKNOWN = 2
"""Pushes of one step of which nobody knows whether they were sent: the second is better than none, a third is noise."""
TRY_AGAIN = 5.0
SOON, SELDOM = 30.0, 3600.0
"""Seconds between two looks at what has not left yet: the older, the rarer. Its end wakes; this is for a delay."""

PAID_FOR = frozenset({Stage.DELIVERY.value, Stage.SETTLEMENT.value})
"""Where it is on its way to the receiver: a mail server that is down must not hold an alarm back."""

Outcome = Watching | Escalated | Acknowledged | Exhausted | Unwatched
Pusher = Callable[[Push, str, str], Awaitable[Result]]
"""Sends a title and a text to a channel."""


class Store(Protocol):
    """What escalation asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens chains and seals addresses, and what finds people."""

    content: UnsealingKey
    lookup: LookupKey


class Escalation:
    """Takes the next step of a chain when its time has come, once."""

    def __init__(
        self, client: Store, keys: Keys, links: AcknowledgeLinks, push: Pusher, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._keys = keys
        self._links = links
        self._push = push
        self._clock = clock

    async def handle(self, work: Work) -> Outcome:
        """What there is to do about what the watch is about.

        Raises:
            Temporary: a push failed and is tried again.
            Unsealable: the chain is sealed for another key or was altered.
        """
        rows = await self._client.query("watched", id=work.facts["watch"])
        if not rows:
            return Unwatched("there is no such notification")
        watched = rows[0]
        if (said := _acknowledged(work.facts, watched)) is not None:
            return said
        chain = await self._chain(work.recipient)
        if chain is None:
            return Unwatched("there is no chain")
        if watched["killed"]:
            return Unwatched("an operator gave it up")
        if _is_nobodys(watched):
            return Unwatched("nobody paid for it")
        if not _has_left(watched):
            now = self._clock()
            return Watching(now + min(max((now - work.accepted_at) / 4, SOON), SELDOM))
        return await self._go_on(work, watched, chain)

    async def _go_on(self, work: Work, watched: Mapping[str, Any], chain: Chain) -> Outcome:
        place, began = _taken(work.facts, watched)
        due = began + chain.wait(place, is_lost=await self._is_lost(work.facts, watched))
        now = self._clock()
        if now < due:
            return Watching(max(_milliseconds(due), now + 1.0))  # the store's clock may be ahead of ours
        following = chain.following(place)
        if following is None:
            return Exhausted(chain.rounds)
        match chain.steps[following.step - 1].to:
            case Person(address):
                notice = await self._send(work, following, address)
                return self._escalated(chain, following, "mail", notice, is_lost=notice is None)
            case Push() as to:
                is_sent = await self._alarm(work, watched, following, to)
                return self._escalated(chain, following, f"apprise:{to.scheme}", None, is_lost=not is_sent)

    def _escalated(self, chain: Chain, place: Place, channel: str, notice: int | None, *, is_lost: bool) -> Escalated:
        now = self._clock()
        until = _milliseconds(now + chain.wait(place, is_lost=is_lost))
        return Escalated(place.round, place.step, channel, now, until, notice, is_lost)

    async def _send(self, work: Work, place: Place, address: str) -> int | None:
        """The same mail as a notification of theirs; None where it is not kept any more."""
        sealed = self._keys.content.sealing_key.seal(address.encode())
        try:
            sent = await self._client.execute(
                "escalate",
                watch=str(work.id),
                round=place.round,
                step=place.step,
                recipient=self._keys.lookup.address(address).hex(),
                address=sealed.hex(),
            )
        except Refused as refused:
            if refused.reason != "incomplete":
                raise
            return None
        return int(sent["id"])

    async def _alarm(self, work: Work, watched: Mapping[str, Any], place: Place, to: Push) -> bool:
        """Whether it was sent. Each try is written down before it is made, and again when it has failed."""
        begun, failed = _tries(work.facts, place)
        if failed >= TRIES or begun - failed >= UNKNOWN:
            return False
        title, text = await self._words(work, watched)
        await work.note("pushing", {"push": [place.round, place.step, begun + 1, failed]})
        result = await self._push(to, title, text)
        if result == "sent":
            return True
        if result == "failed":
            failed += 1
            await work.note("push_failed", {"push": [place.round, place.step, begun + 1, failed]})
        if failed >= TRIES or begun + 1 - failed >= UNKNOWN:
            return False
        raise Temporary(f"a push by {to.scheme} was not sent", retry_after=TRY_AGAIN)

    async def _words(self, work: Work, watched: Mapping[str, Any]) -> tuple[str, str]:
        """Who writes, since when it waits, and where to acknowledge it; nothing of the mail."""
        rows = await self._client.query("principal", id=watched["principal"])
        name = rows[0]["name"] if rows else "Somebody"
        link = self._links.make(int(work.facts["watch"]), watched["accepted_at"])
        since = utc(watched["accepted_at"])
        return f"Urgent: {name} has written", f"Nobody has acknowledged it since {since}. Say that you have it:\n{link}"

    async def _chain(self, lookup: bytes) -> Chain | None:
        rows = await self._client.query("escalation", lookup=lookup.hex())
        return read_chain(self._keys.content.unseal(bytes.fromhex(rows[0]["chain"]))) if rows else None

    async def _is_lost(self, facts: Mapping[str, Any], watched: Mapping[str, Any]) -> bool:
        """Whether what was done last has reached nobody."""
        if not facts.get("taken"):
            return _is_undelivered(watched)
        sent = facts.get("sent")
        rows = await self._client.query("watched", id=sent) if sent else []
        return bool(facts.get("lost")) or any(map(_is_undelivered, rows))


def _acknowledged(facts: Mapping[str, Any], watched: Mapping[str, Any]) -> Acknowledged | None:
    said = facts.get("acknowledged")
    if said:
        return Acknowledged(said["at"], said["round"], said["step"])
    at = watched["acknowledged_at"]
    return None if at is None else Acknowledged(at, 0, 0)


def _is_nobodys(watched: Mapping[str, Any]) -> bool:
    """Nobody is bothered about what nobody paid for."""
    return watched["unpaid"] or watched["state"] in ("deferred", "discarded", "rejected")


def _has_left(watched: Mapping[str, Any]) -> bool:
    return watched["state"] in ("delivered", "dead") or watched["stage"] in PAID_FOR


def _is_undelivered(row: Mapping[str, Any]) -> bool:
    """Whether it has not arrived and will not."""
    return bool(row["state"] == "dead" or row["bounced"])


def _taken(facts: Mapping[str, Any], watched: Mapping[str, Any]) -> tuple[Place, float]:
    """The last step, and since when its time runs."""
    if not facts.get("taken"):
        return Place(), float(watched["since"])
    round_, step, at = facts["taken"]
    return Place(round_, step), float(at)


def _tries(facts: Mapping[str, Any], place: Place) -> tuple[int, int]:
    """How many pushes of the step were begun, and how many of them have failed."""
    round_, step, begun, failed = facts.get("push") or (0, 0, 0, 0)
    return (begun, failed) if Place(round_, step) == place else (0, 0)


def _milliseconds(moment: float) -> float:
    """As the wire carries it, and never before it."""
    return math.ceil(moment * 1000) / 1000
