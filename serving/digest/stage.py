"""The stage that writes digests: one mail for all that is due to a recipient.

The store binds parents and digest in one transaction (`bundle`), all or nothing. So a crash before it leaves every
parent due, a crash after it leaves every parent in exactly one digest; whoever comes second finds the parent's `via`.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakValueDictionary

from serving.digest.letter import Cover, Entry, read_entry, write_letter
from serving.errors import Refused, Temporary, Unsealable
from serving.pipeline import Bundled
from serving.sealing import UnsealingKey
from serving.stage import Work
from serving.web.token import Links
from serving.wishes.wish import Wishes

LARGEST_DIGEST = 100
LINK_FOR = 30 * 86_400.0
"""Seconds for which a link by which something was urgent is good."""

_log = logging.getLogger(__name__)


class Store(Protocol):
    """What the digest writer asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Post:
    """Whose mails digests are, and where their links lead: under `react_url` and `unsubscribe_url` a token follows."""

    mail_from: str
    react_url: str
    unsubscribe_url: str
    links: Links


@dataclass(frozen=True, slots=True)
class _Parent:
    id: str
    entry: Entry


class Digest:
    """Bundles a due notification with the others that are due to the same recipient."""

    def __init__(self, client: Store, content: UnsealingKey, post: Post, clock: Callable[[], float]) -> None:
        self._client = client
        self._content = content
        self._post = post
        self._clock = clock
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def handle(self, work: Work) -> Bundled:
        """Bundled into a digest made now, or into the one that has it already.

        Raises:
            Temporary: another digest writer was faster with one of the parents, or nothing due can be opened.
            Unsealable: this notification's own body is sealed for another key or was altered.
        """
        async with self._locks.setdefault(work.recipient, asyncio.Lock()):
            while (via := await self._via(work)) is None:
                await self._bundle(work)
            return Bundled(via)

    async def _via(self, work: Work) -> int | None:
        rows = await self._client.query("notification", id=str(work.id))
        via = rows[0]["facts"].get("via") if rows else None
        return None if via is None else int(via)

    async def _bundle(self, work: Work) -> None:
        parents = await self._readable_parents(work)
        if not parents:
            raise Temporary("nothing is due that can be opened", retry_after=60.0)
        rows = await self._client.query("recipient", lookup=work.recipient.hex())
        wishes = Wishes.read(rows[0]["wishes"] if rows else {})
        entries = [parent.entry for parent in parents]
        address, letter = await asyncio.to_thread(self._letter, work, entries, wishes)
        try:
            await self._client.execute(
                "bundle",
                recipient=work.recipient.hex(),
                address=address.hex(),
                body=letter.hex(),
                parents=[parent.id for parent in parents],
                at=self._clock(),
            )
        except Refused as refused:
            if refused.reason != "not_bundleable":
                raise
            raise Temporary("another digest has one of the parents", retry_after=0.5) from None

    async def _readable_parents(self, work: Work) -> list[_Parent]:
        """The due notifications but those that cannot be opened: they fail by themselves when they are claimed."""
        due = await self._client.query(
            "digest_due", recipient=work.recipient.hex(), including=str(work.id), limit=LARGEST_DIGEST
        )
        parents = []
        for row in due:
            try:
                parents.append(await self._read(row))
            except Unsealable:
                if int(row["id"]) == work.id:
                    raise
                _log.warning("notification %s is left out of a digest: its body does not open", row["id"])
        return parents

    async def _read(self, row: dict[str, Any]) -> _Parent:
        bodies = await self._client.query("body", message=str(row["message"]))
        if not bodies:
            raise Unsealable("the body is gone")
        return _Parent(str(row["id"]), await asyncio.to_thread(self._entry, row, bytes.fromhex(bodies[0]["body"])))

    def _entry(self, row: dict[str, Any], body: bytes) -> Entry:
        """With a link where a word of the recipient counts: a decision of the classifier can be corrected, no other."""
        facts = row["facts"]
        link, prediction = "", facts.get("prediction")
        if prediction:
            token = self._post.links.reaction.make(int(row["id"]), "was_urgent", self._clock() + LINK_FOR)
            link = f"{self._post.react_url}/{token}"
        return read_entry(
            self._content.unseal(body),
            row["accepted_at"],
            is_verified=facts.get("authentication", {}).get("outcome") == "authenticated",
            score=prediction["score"] if prediction else 0.0,
            link=link,
        )

    def _letter(self, work: Work, entries: list[Entry], wishes: Wishes) -> tuple[bytes, bytes]:
        """The address and the digest mail, both sealed anew: a copy might lie under a key that goes meanwhile."""
        address, now = self._content.unseal(work.address).decode(), self._clock()
        unsubscribe = f"{self._post.unsubscribe_url}/{self._post.links.unsubscribe.make(work.recipient, now)}"
        letter = write_letter(entries, Cover(self._post.mail_from, address, now, wishes.zone, unsubscribe))
        seal = self._content.sealing_key.seal
        return seal(address.encode()), seal(letter)
