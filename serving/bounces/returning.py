"""What is done with a mail that comes back to one of our `bounce+…` addresses; the SMTP intake calls it.

It needs no key that opens anything: the address names the notification, and whose address the report is about is
compared by its lookup. The sender is told by `telling`, where the content key is.
"""

import asyncio
from typing import Any, Protocol

from serving.bounces.read import Bounce, read_bounce
from serving.errors import Refused
from serving.return_addresses import Returned
from serving.sealing import LookupKey
from serving.suppressing import is_gone


class Store(Protocol):
    """What this asks of the broker."""

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


class Bounces:
    """Writes down what receivers say later of mail that they had taken, once for each action."""

    def __init__(self, store: Store, lookup: LookupKey, suppress_for: float) -> None:
        """`suppress_for`: for how many seconds nothing is sent to an address that is none."""
        self._store = store
        self._lookup = lookup
        self._suppress_for = suppress_for
        self._reading = asyncio.Lock()  # one at a time: a hostile one takes a second of the processor

    async def handle(self, returned: Returned, mail: bytes) -> None:
        """Take the mail, whatever it is; what says nothing of ours is dropped.

        Raises:
            BrokerUnavailable: it could not be written down; take it again later.
            Refused: `storage`, the same.
        """
        if returned.purpose != "bounce":
            return
        async with self._reading:
            bounce = await asyncio.to_thread(read_bounce, mail)
        if bounce is not None:
            await self._write(returned, bounce)

    async def _write(self, returned: Returned, bounce: Bounce) -> None:
        is_none = bounce.is_permanent and is_gone(bounce.status)
        try:
            await self._store.execute(
                "bounce",
                id=str(returned.notification),
                action=bounce.action,
                reply=bounce.reply,
                named=sorted(self._lookup.address(address).hex() for address in bounce.addresses),
                suppress_for=self._suppress_for if is_none else None,
            )
        except Refused as refused:
            if refused.reason == "storage":
                raise  # any other refusal, such as for a notification that there is not, would come again
