"""The addresses of a host that a stranger named, none of them inside: nobody may send us to our own network (SSRF).

The caller connects to the addresses themselves, so that what was judged is what is reached.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Collection

import dns.asyncresolver
import dns.exception
import dns.resolver

from serving.errors import Temporary

Resolve = Callable[[str], Awaitable[tuple[str, ...]]]
"""The addresses of a host, () where there is no such host; Temporary where the DNS does not say."""

LONGEST_WAIT = 5.0
"""Seconds for the addresses of one host."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_INNER = tuple(map(ipaddress.IPv6Network, ("fec0::/10", "::/96", "64:ff9b:1::/48")))
"""Site-local and IPv4-compatible (both withdrawn) and local-use NAT64 (RFC 8215), which Python takes for global."""


async def resolve(host: str, resolver: dns.asyncresolver.Resolver | None = None) -> tuple[str, ...]:
    """The host's addresses by the DNS alone, version 6 first; neither /etc/hosts nor a search list is asked.

    Without a resolver the name servers of this machine are asked.

    Raises:
        Temporary: no answer within 5 seconds, or one that says that the server failed.
    """
    try:
        asked = resolver or dns.asyncresolver.Resolver()
        answers = await asked.resolve_name(host, lifetime=LONGEST_WAIT, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.YXDOMAIN):
        return ()
    except (dns.exception.Timeout, dns.resolver.NoNameservers, dns.resolver.NoResolverConfiguration, OSError):
        raise Temporary("the DNS does not answer; ask again later") from None
    except (dns.exception.DNSException, UnicodeError, ValueError):
        return ()  # what cannot be asked is no name
    return tuple(str(address) for address in answers.addresses())


def is_public(address: str) -> bool:
    """Whether it is an address that anybody on the Internet reaches, itself and what it stands for (IANA's registries).

    IPv6 addresses that carry an IPv4 address (mapped, 6to4, Teredo, NAT64) are judged by that as well.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return all(each.is_global and not each.is_multicast for each in _meant(parsed))


def may_ask(address: str, networks: Collection[Network]) -> bool:
    """Whether it is public, or in one of the networks that count as public by the operator's word."""
    return is_public(address) or any(ipaddress.ip_address(address) in network for network in networks)


def _meant(address: _Address) -> list[_Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if any(address in network for network in _INNER):
        return [ipaddress.IPv6Address("::1")]
    inner = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return [address, *(each for each in inner if each is not None)]
