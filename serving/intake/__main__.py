"""The SMTP intake as a program: takes mail in on the port that the settings name.

python -m serving.intake
"""

import asyncio
import contextlib
import logging
import resource
import sys
import time

from serving import core_dumps
from serving.errors import ClarionError, NotThereYet
from serving.gateway.uses import Uses
from serving.intake.server import Server
from serving.intake.wiring import make_parts, make_returned
from serving.queue import collector
from serving.queue.client import Client
from serving.settings import Settings
from serving.stopping import cancel_on_signals


async def run(settings: Settings) -> None:
    """Take mail in until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: it cannot start as it is set up.
    """
    client = Client(settings.socket)
    uses = Uses(client, time.time)
    server = Server(make_parts(settings, client, uses, make_returned(settings, client)))
    port = await server.listen(settings.intake_host, settings.intake_port)
    print(f"intake on {settings.intake_host}:{port}", flush=True)
    cancel_on_signals()
    writing = asyncio.create_task(uses.keep_writing())
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await server.close()
    writing.cancel()
    await uses.write()
    await client.close()


def main() -> int:
    """The command; 2 when it cannot start as it is set up."""
    core_dumps.forbid()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    collector.relax()
    try:
        asyncio.run(run(Settings.read()))
    except NotThereYet as error:
        print(error, file=sys.stderr)
        return 75
    except ClarionError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
