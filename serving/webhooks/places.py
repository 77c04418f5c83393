"""Where a webhook may lie: behind HTTPS on the public Internet, in a network that the operator allows, or on this
machine itself, then by plain HTTP too.

Whoever names a URL names whom we connect to: the addresses are judged at each call, and those that were judged are
connected to.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from serving.public_hosts import Network, Resolve, may_ask, resolve

LOCAL = {"localhost": ("127.0.0.1", "::1"), "127.0.0.1": ("127.0.0.1",), "::1": ("::1",)}
MOST_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect to, and what to say there: the scheme, addresses in the order in which to try them, the port,
    the name that the certificate must be for, the Host field and the request's target."""

    scheme: str
    addresses: tuple[str, ...]
    port: int
    name: str
    host: str
    target: str


@dataclass(frozen=True, slots=True)
class Impossible:
    """Why nothing is sent there."""

    reason: str


class Places:
    """Finds and judges; `networks` are those that count as public here, as the operator says."""

    def __init__(self, networks: Sequence[str] = (), *, resolve: Resolve = resolve) -> None:
        self._networks: list[Network] = [ipaddress.ip_network(network) for network in networks]
        self._resolve = resolve

    async def find(self, url: str) -> Place | Impossible:
        """The place of the URL, as things are now. Raises Temporary where the DNS does not say."""
        parsed = read(url)
        if isinstance(parsed, Impossible):
            return parsed
        host = parsed.raw_host.decode()  # as the DNS has it
        addresses = LOCAL.get(host) or await self._addresses(host)
        if not addresses:
            return Impossible("its host has no address")
        if host not in LOCAL and not all(may_ask(address, self._networks) for address in addresses):
            return Impossible("its host lies in a network that is not public; see CLARION_WEBHOOK_NETWORKS")
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        target = parsed.raw_path.decode()
        return Place(parsed.scheme, addresses[:MOST_ADDRESSES], port, host, parsed.netloc.decode(), target)

    async def _addresses(self, host: str) -> tuple[str, ...]:
        try:
            return (str(ipaddress.ip_address(host)),)
        except ValueError:
            return await self._resolve(host)


def read(url: str) -> httpx.URL | Impossible:
    """The URL, where it is one that a webhook may have."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return Impossible("that is no URL")
    if not parsed.host or parsed.scheme not in ("https", "http"):
        return Impossible("a webhook's URL begins with https://")
    if parsed.scheme == "http" and parsed.host not in LOCAL:
        return Impossible("a webhook's URL begins with https://; http:// is for this machine alone")
    if parsed.userinfo or parsed.fragment:
        return Impossible("a webhook's URL holds no password and no fragment; what we send is signed")
    return parsed
