"""The program that tells senders' webhooks what became of their mail: `python -m serving.webhooks`.

It holds the lookup key, from which the secrets are derived, and none that opens mail. Several may run at once.
"""

import asyncio
import contextlib
import logging
import ssl
import sys
from random import SystemRandom

from serving import core_dumps
from serving.errors import ClarionError
from serving.queue.client import Client
from serving.sealing import load_lookup
from serving.settings import Settings
from serving.stopping import cancel_on_signals
from serving.webhooks.places import Places
from serving.webhooks.post import Post
from serving.webhooks.sending import Pace, Sending


async def run(settings: Settings) -> None:
    """Send until SIGTERM or SIGINT; a broker that is not there is waited for."""
    cancel_on_signals()
    key, places, pace = load_lookup(settings.keys), Places(settings.webhook_networks), Pace()
    client, tls = Client(settings.socket), ssl.create_default_context()  # reads all authorities: not for each receiver

    def connect() -> Post:
        return Post(places, connections=pace.each, tls=tls)

    try:
        await Sending(client, key, connect, SystemRandom(), pace).run()
    except asyncio.CancelledError:
        pass
    finally:
        await client.close()


def main() -> int:
    """The command; 2 where it cannot start as it is set up."""
    core_dumps.forbid()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run(Settings.read()))
    except ClarionError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
