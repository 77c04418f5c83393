"""Where the mail arrives: a real SMTP server that now and then loses its 250: python -m ...receiver WORLD

Each mail that is taken is a line in the receiver's own book before it is answered, `answered` false where the
connection is dropped in place of the 250. Nobody whose address begins with `nobody` lives here.
"""

import asyncio
import json
import logging
import os
import sys
from collections import Counter

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.torture.payments.world import HOST, World

LOST = 0.02
"""Share of the mails whose 250 is lost."""


class Receiver:
    """aiosmtpd's handler."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: Counter[int] = Counter()
        self._book = os.open(world.arrivals, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def handle_RCPT(
        self,
        server: SMTP,  # noqa: ARG002
        session: Session,  # noqa: ARG002
        envelope: Envelope,
        address: str,
        options: list[str],  # noqa: ARG002
    ) -> str:
        """550 for who does not exist."""
        if address.startswith("nobody"):
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002
        """Written down, and then answered or lost."""
        content = envelope.original_content or b""
        id_, number = _between(content, b"Message-ID: <", b"@"), _between(content, b"Subject: ", b"\r\n")
        self._seen[number] += 1
        is_lost = self._world.chance("250", number, self._seen[number]).random() < LOST
        os.write(self._book, json.dumps({"id": id_, "answered": not is_lost}).encode() + b"\n")
        if is_lost and isinstance(server.transport, asyncio.WriteTransport):
            server.transport.abort()
        return "250 2.0.0 Kept"


def _between(content: bytes, before: bytes, after: bytes) -> int:
    return int(content.partition(before)[2].partition(after)[0])


async def receive(world: World) -> None:
    """Receive until killed."""
    loop = asyncio.get_running_loop()
    receiver = Receiver(world)
    await loop.create_server(lambda: SMTP(receiver, hostname="receiver.torture.invalid", loop=loop), HOST, world.smtp)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.getLogger("mail").setLevel(logging.CRITICAL)
    asyncio.run(receive(World.read(sys.argv[1])))
