"""The stage that writes digests: one mail for all that is due to a recipient.

The store binds parents and digest in one transaction (`bundle`), all or nothing. So a crash before it leaves every
parent due, a crash after it leaves every parent in exactly one digest; whoever comes second finds the parent's `via`.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from weakref import WeakValueDictionary

from serving.digest.letter import Entry, read_entry, write_letter
from serving.errors import Refused, Temporary, Unsealable
from serving.pipeline import Bundled
from serving.sealing import UnsealingKey
from serving.stage import Work

LARGEST_DIGEST = 100

_log = logging.getLogger(__name__)


class Store(Protocol):
    """What the digest writer asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Parent:
    id: str
    entry: Entry


class Digest:
    """Bundles a due notification with the others that are due to the same recipient."""

    def __init__(self, client: Store, content: UnsealingKey, mail_from: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._content = content
        self._mail_from = mail_from
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
        address, letter = await asyncio.to_thread(self._letter, work, [parent.entry for parent in parents])
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
        is_verified = row["facts"].get("authentication", {}).get("outcome") == "authenticated"
        return _Parent(
            str(row["id"]), await asyncio.to_thread(self._entry, bodies[0]["body"], row["accepted_at"], is_verified)
        )

    def _entry(self, body: str, accepted_at: float, is_verified: bool) -> Entry:
        return read_entry(self._content.unseal(bytes.fromhex(body)), accepted_at, is_verified=is_verified)

    def _letter(self, work: Work, entries: list[Entry]) -> tuple[bytes, bytes]:
        """The address and the digest mail, both sealed anew: a copy might lie under a key that goes meanwhile."""
        address = self._content.unseal(work.address).decode()
        letter = write_letter(entries, self._mail_from, address, datetime.fromtimestamp(self._clock(), UTC))
        seal = self._content.sealing_key.seal
        return seal(address.encode()), seal(letter)
