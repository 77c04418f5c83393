"""An issuer's public keys: fetched, bounded, kept while the issuer is away (RFC 7517; OpenID Connect Discovery 1.0)."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from joserfc.jwk import JWKRegistry, Key

from serving.errors import IssuerAway
from serving.settings import PROTECTED

LARGEST_DOCUMENT = 256 * 1024
"""Octets of a key set, or of the document that says where it is."""
MOST_KEYS = 100
PATIENCE = 5.0
"""Seconds for all of a fetch."""
FRESH = 3_600.0
"""Seconds after which the keys are fetched again, beside the requests."""
PAUSE, RETRY = 60.0, 5.0
"""Seconds between two fetches, and while no key is known at all."""
SHORTEST_RSA, LONGEST_RSA = 2_048, 8_192
"""Bits."""

_SUITS = {"RS256": ("RSA", None), "PS256": ("RSA", None), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """A key of the set, with the name and the algorithm that it was published under, where it was."""

    key: Key
    kid: str | None
    algorithm: str | None

    def suits(self, algorithm: str) -> bool:
        """Whether it is made for this algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1)."""
        kind, curve = _SUITS[algorithm]
        has_curve = curve is None or getattr(self.key, "curve_name", None) == curve
        return self.algorithm in (None, algorithm) and self.key.key_type == kind and has_curve


class IssuerKeys:
    """The keys of one issuer; `jwks` is where they are, empty to ask its discovery document. `clock` is monotonic."""

    def __init__(self, issuer: str, jwks: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._jwks = jwks
        self._clock = clock
        self._http = httpx.AsyncClient(timeout=PATIENCE, trust_env=False)
        self._keys: tuple[Published, ...] | None = None
        self._asked_at = self._fetched_at = -FRESH
        self._asking = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key of that name, or the only one that suits where there is no name; None where there is none.

        An unknown name has the set fetched again, at most once a minute; a key that was withdrawn is believed for at
        most an hour, and longer only while the issuer is away.

        Raises:
            IssuerAway: no key was ever fetched, and the issuer does not answer.
        """
        found = self._known(kid, algorithm)
        if found is None:
            await self._refresh()
        elif self._clock() - self._fetched_at > FRESH and self._may_ask():
            self._refreshing = asyncio.create_task(self._refresh())  # kept: the loop holds tasks only weakly
        if self._keys is None:
            raise IssuerAway("the issuer of tokens does not answer; see CLARION_OIDC_ISSUER")
        return found or self._known(kid, algorithm)

    async def close(self) -> None:
        """Close the connections."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        await self._http.aclose()

    def _known(self, kid: str | None, algorithm: str) -> Key | None:
        suitable = [each for each in self._keys or () if each.suits(algorithm)]
        if kid is None:
            return suitable[0].key if len(suitable) == 1 else None
        return next((each.key for each in suitable if each.kid == kid), None)

    def _may_ask(self) -> bool:
        return self._clock() - self._asked_at >= (RETRY if self._keys is None else PAUSE)

    async def _refresh(self) -> None:
        async with self._asking:
            if not self._may_ask():
                return
            self._asked_at = self._clock()
            try:
                async with asyncio.timeout(PATIENCE):
                    self._keys = await self._fetch()
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
                _log.warning("the issuer's keys cannot be fetched: %s; known ones are kept", type(error).__name__)
                return
            self._fetched_at = self._clock()

    async def _fetch(self) -> tuple[Published, ...]:
        where = self._jwks or await self._discovered()
        return read_keys(await self._get(where))

    async def _discovered(self) -> str:
        """Where the keys are; the document must be the issuer's own (OpenID Connect Discovery 1.0, section 4.3)."""
        document = await self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        where = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(where, str) or not re.match(PROTECTED, where):
            raise ValueError("no discovery document of this issuer")
        return where

    async def _get(self, url: str) -> dict[str, Any]:
        octets = bytearray()
        async with self._http.stream(
            "GET", url, headers={"Accept": "application/json", "Accept-Encoding": "identity"}
        ) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError("the answer is not 200")
            async for piece in response.aiter_raw(16_384):  # as it came: what unpacks may be of any size
                octets += piece
                if len(octets) > LARGEST_DOCUMENT:
                    raise ValueError("the answer is too large")
        return _object(bytes(octets))


def read_keys(document: dict[str, Any]) -> tuple[Published, ...]:
    """The keys that can verify a signature. What is unknown, weak or broken is passed over (RFC 7517 section 5).

    Raises:
        ValueError: the document holds no usable key.
    """
    listed = document.get("keys")
    found = [_published(each) for each in listed[:MOST_KEYS]] if isinstance(listed, list) else []
    usable = tuple(each for each in found if each is not None)
    if not usable:
        raise ValueError("no usable key")
    return usable


def _published(jwk: Any) -> Published | None:
    if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "EC", "OKP") or jwk.get("use", "sig") != "sig":
        return None
    try:
        key = JWKRegistry.import_key(jwk)
        bits = getattr(key.raw_value, "key_size", SHORTEST_RSA)
    except Exception:  # a broken key breaks the reader in more ways than it documents, and concerns no other
        return None
    if key.key_type == "RSA" and not SHORTEST_RSA <= bits <= LONGEST_RSA:
        return None
    return Published(key, jwk.get("kid"), jwk.get("alg"))


def _object(octets: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(octets)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(tree, dict):
        raise ValueError("no object")
    return tree
