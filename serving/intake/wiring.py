"""What the intake's connections share, as the settings say."""

import time
from collections.abc import Callable

from serving.addresses import own_domain
from serving.bounces.returning import Bounces
from serving.gateway.limits import Lockouts, Rates
from serving.gateway.principals import Limits, Principals
from serving.gateway.uses import Uses
from serving.intake.acceptance import Acceptance
from serving.intake.answers import Answers
from serving.intake.callers import Callers
from serving.intake.door import Door, Patience
from serving.intake.parts import Parts
from serving.intake.returned import ReturnHandler, Returns
from serving.intake.server import read_tls
from serving.keyring import load_sealing
from serving.queue.client import Client
from serving.return_addresses import ReturnAddresses
from serving.sealing import load_lookup
from serving.settings import Settings

Clock = Callable[[], float]
"""Seconds since the epoch."""


def make_parts(
    settings: Settings, client: Client, uses: Uses, returned: ReturnHandler | None = None, clock: Clock = time.time
) -> Parts:
    """What the connections share; without `returned` nobody reads what comes to addresses of our own.

    Raises:
        ConfigurationError: a key file, network or certificate is wrong; the message names it.
    """
    domain = own_domain(settings.mail_from)
    lookup = load_lookup(settings.keys)
    limits = Limits(Rates(settings.rate, settings.burst, time.monotonic), Lockouts(time.monotonic))
    principals = Principals(client, clock, limits=limits, uses=uses, tokens=None)

    async def is_enrolled(address: str) -> bool:
        return bool(await client.query("recipient", lookup=lookup.address(address).hex()))

    return Parts(
        hostname=settings.smtp_hostname or domain,
        largest=settings.max_body,
        callers=Callers(client, principals, limits.rates, settings.intake_networks, clock),
        acceptance=Acceptance(client, load_sealing(settings.keys, "content"), lookup, domain, clock),
        is_enrolled=is_enrolled,
        addresses=ReturnAddresses(lookup.derive("return"), domain),
        door=Door(settings.intake_connections, settings.intake_connections_each),
        patience=Patience(),
        returned=returned,
        tls=read_tls(settings.intake_certificate, settings.intake_key),
    )


def make_returned(settings: Settings, client: Client) -> Returns:
    """What reads the mail to addresses of our own. Raises ConfigurationError naming the key file that is wrong."""
    lookup = load_lookup(settings.keys)
    bounces = Bounces(client, lookup, settings.suppression_days * 86_400.0)
    answers = Answers(client, load_sealing(settings.keys, "content"), lookup)
    return Returns({"bounce": bounces.handle, "reply": answers})
