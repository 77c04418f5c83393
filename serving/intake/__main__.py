"""The SMTP intake as a program: takes mail in on the port that the settings name.

python -m serving.intake
"""

import asyncio
import contextlib
import gc
import logging
import resource
import sys
import time

from serving import core_dumps
from serving.addresses import domain_of
from serving.errors import ClarionError, NotThereYet
from serving.gateway.limits import Lockouts, Rates
from serving.gateway.principals import Limits, Principals
from serving.gateway.uses import Uses
from serving.intake.acceptance import Acceptance
from serving.intake.callers import Callers
from serving.intake.door import Door, Patience
from serving.intake.server import Server, read_tls
from serving.intake.session import Parts
from serving.keyring import load_sealing
from serving.queue.client import Client
from serving.return_addresses import ReturnAddresses
from serving.sealing import load_lookup
from serving.settings import Settings
from serving.stopping import cancel_on_signals


async def run(settings: Settings) -> None:
    """Take mail in until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: it cannot start as it is set up.
    """
    client = Client(settings.socket)
    uses = Uses(client, time.time)
    server = Server(make_parts(settings, client, uses))
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


def make_parts(settings: Settings, client: Client, uses: Uses) -> Parts:
    """What the connections share. Raises ConfigurationError naming the key, network or certificate that is wrong."""
    domain = domain_of(settings.mail_from) or "clarion.invalid"
    lookup = load_lookup(settings.keys)
    limits = Limits(Rates(settings.rate, settings.burst, time.monotonic), Lockouts(time.monotonic))
    principals = Principals(client, time.time, limits=limits, uses=uses, tokens=None)

    async def is_enrolled(address: str) -> bool:
        return bool(await client.query("recipient", lookup=lookup.address(address).hex()))

    return Parts(
        hostname=domain,
        domain=domain,
        largest=settings.max_body,
        callers=Callers(client, principals, limits.rates, settings.intake_networks, time.time),
        acceptance=Acceptance(client, load_sealing(settings.keys, "content"), lookup, domain, time.time),
        is_enrolled=is_enrolled,
        addresses=ReturnAddresses(lookup.derive("return"), domain),
        door=Door(settings.intake_connections, settings.intake_connections_each),
        patience=Patience(),
        tls=read_tls(settings.intake_certificate, settings.intake_key),
    )


def main() -> int:
    """The command; 2 when it cannot start as it is set up."""
    core_dumps.forbid()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
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
