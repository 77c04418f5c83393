"""Delivery to the domains' own servers, by MX (RFC 5321 section 5, RFC 7505).

Whoever names a recipient names whom we connect to: an address that is not public is asked only where the operator says
that mail servers lie there.
"""

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from random import Random

from serving.addresses import canonical_domain
from serving.delivery.names import Exchanger, Names
from serving.delivery.routes import NoRoute, Security, Server
from serving.delivery.sts import Policies, covers
from serving.errors import Temporary
from serving.public_hosts import Network, may_ask

MOST_ADDRESSES = 5
"""Tried for one mail at most; section 5.1 wants two."""
MOST_HOSTS = 20
"""Whose addresses are asked for: each may take seconds in which its name server says nothing."""

NO_DOMAIN = NoRoute("550 5.1.2 not sent: there is no such domain")
NO_SERVER = NoRoute("550 5.4.4 not sent: the domain names mail servers that do not exist")
NO_MAIL = NoRoute("556 5.1.10 not sent: the domain takes no mail")
LOOP = NoRoute("554 5.4.6 not sent: the domain's mail server is this one, which is not its last; a mail loop")
INSIDE = NoRoute("550 5.4.4 not sent: the domain's mail server lies in a network that is not public")


@dataclass(frozen=True, slots=True)
class Exchangers:
    """`ours` are names that are this server as an MX. `is_alone`: no receiver is on this machine, so its loopback
    addresses are a loop too. `security` holds for all but the `exceptions`, by domain, and for whom `policies` know.
    `networks` count as public."""

    hostname: str
    names: Names
    random: Random
    port: int = 25
    ours: Collection[str] = ()
    is_alone: bool = True
    security: Security = Security.OPPORTUNISTIC
    exceptions: Mapping[str, Security] = field(default_factory=dict)
    policies: Policies | None = None
    networks: Collection[Network] = ()

    @property
    def is_one_for_all(self) -> bool:
        """See `Router.is_one_for_all`."""
        return False

    def destination(self, domain: str) -> str:
        """See `Router.destination`."""
        return domain

    def absence(self, reason: str) -> str:
        """See `Router.absence`."""
        return f"no mail server of the domain serves us: {reason}"

    async def servers(self, domain: str) -> tuple[Server, ...] | NoRoute:
        """See `Router.servers`."""
        if domain.startswith("["):
            return self._literal(domain)
        if canonical_domain(domain) is None:
            return NO_DOMAIN
        exchangers = await self._exchangers(domain)
        if isinstance(exchangers, NoRoute):
            return exchangers
        security, named = await self._policy(domain)
        allowed = [each for each in exchangers if named is None or covers(named, each.host)]
        if not allowed:
            raise Temporary("the domain's MTA-STS policy names none of its mail servers; it is looked at again later")
        return await self._found(allowed[:MOST_HOSTS], security)

    async def _exchangers(self, domain: str) -> list[Exchanger] | NoRoute:
        records = await self.names.exchangers(domain)
        if records is None:
            return NO_DOMAIN
        if not records:  # the domain itself is its server (section 5.1)
            return [Exchanger(0, domain)] if await self.names.addresses(domain) else NO_DOMAIN
        if all(record.host == "." for record in records):
            return NO_MAIL
        real = [record for record in records if canonical_domain(record.host)]
        if not real:
            return NO_SERVER
        ours = min((record.preference for record in real if record.host in self.ours), default=None)
        return [each for each in self._shuffled(real) if ours is None or each.preference < ours] or LOOP

    def _shuffled(self, records: Iterable[Exchanger]) -> list[Exchanger]:
        """The most preferred first; those alike in random order, so that they share the load."""
        ordered: list[Exchanger] = []
        for _, alike in groupby(sorted(records), key=lambda record: record.preference):
            group = list(alike)
            ordered += self.random.sample(group, len(group))
        return ordered

    async def _policy(self, domain: str) -> tuple[Security, Collection[str] | None]:
        """What TLS is wanted, and of which hosts where a policy of the domain's own says so."""
        if domain in self.exceptions:
            return self.exceptions[domain], None
        named = None if self.policies is None else await self.policies.enforced(domain)
        return (self.security, None) if named is None else (Security.REQUIRED, named)

    async def _found(self, exchangers: Iterable[Exchanger], security: Security) -> tuple[Server, ...] | NoRoute:
        servers: list[Server] = []
        silent: Temporary | None = None
        obstacle = NO_SERVER
        for preference, host in exchangers:
            if len(servers) >= MOST_ADDRESSES:
                break
            try:
                addresses = await self.names.addresses(host)
            except Temporary as temporary:
                silent = temporary
                continue
            found = {address: self._obstacle(address) for address in addresses}
            obstacle = next(filter(None, found.values()), obstacle)
            usable = [address for address in addresses if found[address] is None]
            servers += [Server(address, self.port, host, security, preference) for address in usable]
        if not servers and silent is not None:
            raise silent
        return tuple(servers[:MOST_ADDRESSES]) or obstacle

    def _literal(self, domain: str) -> tuple[Server, ...] | NoRoute:
        """An address instead of a domain (section 4.1.3)."""
        try:
            address = str(ipaddress.ip_address(domain[1:-1].removeprefix("ipv6:")))
        except ValueError:
            return NO_DOMAIN
        obstacle = self._obstacle(address)
        if obstacle is not None:
            return obstacle
        security = self.exceptions.get(domain, self.security)
        return (Server(address, self.port, address, security),)

    def _obstacle(self, address: str) -> NoRoute | None:
        """Why it is not asked: it is no host's address, this host's, or one inside."""
        ip = ipaddress.ip_address(address)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if ip.is_unspecified or ip.is_multicast or ip == ipaddress.ip_address("255.255.255.255"):
            return LOOP
        if ip.is_loopback:
            return LOOP if self.is_alone else None
        return None if may_ask(str(ip), self.networks) else INSIDE
