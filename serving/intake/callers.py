"""Who hands in mail: whoever logs in with an API key, or a network that belongs to one of our senders."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from serving.errors import ConfigurationError
from serving.gateway.limits import Rates
from serving.gateway.principals import BELIEVED, Credential, Directory, Principal, Principals
from serving.gateway.problems import Problem
from serving.intake.replies import NO_CALLER, Refusal

REMEMBERED = 1_024
"""Addresses whose network's owner is at hand: each of a client's mails asks."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Caller:
    """A sender, and by what it is known: a credential, or None for the network that it comes from."""

    principal: Principal
    credential: Credential | None = None

    @property
    def is_stranger(self) -> bool:
        """Whether anybody at all may stand behind it: then only enrolled recipients are written to."""
        return self.credential is None and self.principal.relays


class Callers:
    """Tells callers by key or by address; `clock` is seconds since the epoch, `networks` the senders' ids by network.

    Raises ConfigurationError where one of the networks is none.
    """

    def __init__(
        self,
        directory: Directory,
        principals: Principals,
        rates: Rates,
        networks: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._principals = principals
        self._rates = rates
        self._clock = clock
        self._networks = read_networks(networks)
        self._owner = lru_cache(REMEMBERED)(self._owner_of)
        self._found: dict[str, tuple[float, Principal | None]] = {}

    async def log_in(self, key: str, address: str) -> Caller:
        """The caller with that API key.

        Raises:
            Refusal: 535, it is none; 454, the address failed too often, or nobody can tell now.
            BrokerUnavailable: nobody can tell now.
        """
        try:
            credential = await self._principals.log_in(key, address)
            return Caller(await self._principals.known_by(credential), credential)
        except Problem as refusal:
            raise Refusal(_LOG_IN.get(refusal.answer.status, "454 4.7.0 Nobody can tell now; try again")) from None

    async def by_network(self, address: str) -> Caller | None:
        """The caller that this address (without a zone) belongs to, by the narrowest network that holds it."""
        owner = self._owner(address)
        principal = None if owner is None else await self._principal(owner)
        return None if principal is None else Caller(principal)

    async def check(self, caller: Caller) -> Caller:
        """The caller as it is now, before each mail and once more before it is kept.

        Raises:
            Refusal: 535, its key was revoked or has ended; 530, its network's sender is gone.
        """
        if caller.credential is None:
            principal = await self._principal(caller.principal.id)
            if principal is None:
                raise Refusal(NO_CALLER)
            return Caller(principal)
        try:
            return Caller(await self._principals.known_by(caller.credential), caller.credential)
        except Problem:
            raise Refusal(_LOG_IN[401]) from None

    def charge(self, caller: Caller) -> None:
        """Count a mail. Raises Refusal 450 where the sender's quota is used up."""
        allowance = self._rates.take(caller.principal.id)
        if allowance is not None and allowance.wait:
            raise Refusal(f"450 4.7.1 Too many mails of this sender; try again in {allowance.wait} s")

    def _owner_of(self, address: str) -> str | None:
        found = ipaddress.ip_address(address)
        return next((id_ for network, id_ in self._networks if found in network), None)

    async def _principal(self, id_: str) -> Principal | None:
        until, principal = self._found.get(id_, (0.0, None))
        if self._clock() < until:
            return principal
        rows = await self._directory.query("principal", id=id_)
        row = rows[0] if rows and rows[0]["revoked_at"] is None else None
        found = None if row is None else Principal(id_, tuple(row["domains"]), row["policy"].get("relays") is True)
        self._found[id_] = self._clock() + BELIEVED, found
        return found


def read_networks(networks: Mapping[str, str]) -> list[tuple[Network, str]]:
    """The networks with their senders, the narrowest first. Raises ConfigurationError where one is none."""
    try:
        found = [(ipaddress.ip_network(network), id_) for network, id_ in networks.items()]
    except ValueError as error:
        raise ConfigurationError(f"CLARION_INTAKE_NETWORKS: {error}") from None
    return sorted(found, key=lambda pair: pair[0].prefixlen, reverse=True)


_LOG_IN = {
    401: "535 5.7.8 This API key is unknown, revoked or has ended",
    429: "454 4.7.0 Too many wrong keys from your address; use a valid one, or try again later",
}
