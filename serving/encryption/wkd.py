"""OpenPGP certificates that the domain of an address publishes: Web Key Directory, draft-koch-openpgp-webkey-service.

The host `openpgpkey.<domain>` is asked (advanced method), the domain itself only where there is no such host (direct
method). The policy file is not read: it speaks to those who publish. Whoever names an address names a host, so only
public addresses are asked, over HTTPS alone, no redirect is followed, and size and time have bounds.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import httpx
from pysequoia import Cert

from serving.addresses import domain_of
from serving.encryption.certificates import LARGEST_CERTIFICATE, Unusable, read_certificate
from serving.errors import Temporary
from serving.public_hosts import Resolve, is_public, resolve

MOST_CERTIFICATES, MOST_ADDRESSES = 16, 4

_Z_BASE_32 = "ybndrfg8ejkmcpqxot1uwisza345h769"
_PATH = "/.well-known/openpgpkey"
_SILENT = Unusable("the domain's key directory does not answer; ask again later")
_NONE = Unusable("the domain publishes no OpenPGP certificate for the address")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a certificate would lie: the host, and the target of the request."""

    host: str
    target: str


def hashed_local_part(local: str) -> str:
    """32 characters: z-base-32 of the SHA-1 of the local part, its ASCII letters in lower case (section 3.1)."""
    digest = hashlib.sha1(local.encode(errors="surrogatepass").lower(), usedforsecurity=False).digest()
    number = int.from_bytes(digest, "big")
    return "".join(_Z_BASE_32[number >> shift & 31] for shift in range(155, -1, -5))


def places(address: str) -> tuple[Place, Place] | None:
    """Where the advanced and the direct method look (section 3.1); None for what is no address with a domain."""
    domain = domain_of(address)
    if domain is None:
        return None
    local = address.strip().rpartition("@")[0]
    name = f"hu/{hashed_local_part(local)}?l={quote(local, safe='', errors='surrogatepass')}"
    return Place(f"openpgpkey.{domain}", f"{_PATH}/{domain}/{name}"), Place(domain, f"{_PATH}/{name}")


class KeyDirectory:
    """Asks Web Key Directories; holds nothing between two questions."""

    def __init__(
        self,
        *,
        resolve: Resolve = resolve,
        may_ask: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
        port: int = 443,
        timeout: float = 10.0,
    ) -> None:
        """`timeout` is seconds for one certificate, all in all; `may_ask` judges the addresses that hosts have."""
        self._resolve = resolve
        self._may_ask = may_ask
        self._tls = tls or ssl.create_default_context()
        self._port = port
        self._timeout = timeout

    async def find(self, address: str, now: datetime) -> Cert | Unusable:
        """The published certificate for the address, reduced to what is usable at `now`, or why there is none."""
        candidates = places(address)
        if candidates is None:
            return Unusable("that is no address")
        try:
            async with asyncio.timeout(self._timeout):
                octets = await self._ask(candidates)
        except (TimeoutError, Temporary, httpx.HTTPError):
            return _SILENT
        return octets if isinstance(octets, Unusable) else await asyncio.to_thread(_read, octets, address, now)

    async def _ask(self, candidates: Sequence[Place]) -> bytes | Unusable:
        for place in candidates:
            addresses = await self._resolve(place.host)
            if not addresses:
                continue
            if not all(map(self._may_ask, addresses)):
                return Unusable("the domain's key directory lies in a network that is not public; it is not asked")
            return await self._fetch(place, addresses[:MOST_ADDRESSES])
        return _NONE

    async def _fetch(self, place: Place, addresses: Sequence[str]) -> bytes | Unusable:
        async with httpx.AsyncClient(verify=self._tls, timeout=self._timeout, trust_env=False) as client:
            for address in addresses:
                try:
                    return await self._get(client, place, address)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
        return _SILENT

    async def _get(self, client: httpx.AsyncClient, place: Place, address: str) -> bytes | Unusable:
        # The target is no part of the URL because httpx logs URLs, and this one names a person.
        url = httpx.URL(scheme="https", host=address, port=self._port, path="/")
        headers = {"Host": place.host, "Accept-Encoding": "identity"}
        extensions = {"sni_hostname": place.host, "target": place.target.encode()}
        async with client.stream("GET", url, headers=headers, extensions=extensions) as response:
            if response.status_code == httpx.codes.OK:
                return await _body(response)
        if response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
            return _NONE
        return Unusable(f"the domain's key directory answers with status {response.status_code}")


async def _body(response: httpx.Response) -> bytes | Unusable:
    octets = b""
    async for piece in response.aiter_raw():
        octets += piece
        if len(octets) > LARGEST_CERTIFICATE:
            return Unusable("the published certificate is larger than 1 MiB")
    return octets


def _read(octets: bytes, address: str, now: datetime) -> Cert | Unusable:
    """The first usable one: a directory may have a revoked certificate beside its successor (section 3.1)."""
    try:
        certificates = Cert.split_bytes(octets)[:MOST_CERTIFICATES]
    except Exception:  # PySequoia raises RuntimeError with a backtrace
        return Unusable("the published certificate is unreadable")
    judged = [read_certificate(bytes(certificate), address, now) for certificate in certificates]
    return next((each for each in judged if isinstance(each, Cert)), judged[0] if judged else _NONE)
