"""What all connections of the intake share, and what it knows of an address."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address

from serving.intake.acceptance import Acceptance
from serving.intake.callers import Callers
from serving.intake.door import Door, Patience
from serving.intake.returned import ReturnHandler
from serving.return_addresses import ReturnAddresses


def is_here(address: str) -> bool:
    """Whether the client runs on this machine."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Parts:
    """What all connections share. `returned` takes the mail to addresses of our own; without it nobody reads them.
    `is_near` tells the addresses whose connections nobody can listen to."""

    hostname: str
    largest: int
    callers: Callers
    acceptance: Acceptance
    is_enrolled: Callable[[str], Awaitable[bool]]
    addresses: ReturnAddresses
    door: Door
    patience: Patience
    tls: ssl.SSLContext | None = None
    returned: ReturnHandler | None = None
    is_near: Callable[[str], bool] = is_here
