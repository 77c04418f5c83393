"""Bearer tokens of an OpenID Connect issuer: which subject speaks (RFC 7519, RFC 8725, RFC 9068)."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError, UnsupportedAlgorithmError
from joserfc.jwk import Key

from serving.authentication.subjects import subject_of
from serving.errors import InvalidToken

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
LONGEST_TOKEN = 16 * 1024
"""Octets."""
SKEW = 60
"""Seconds by which the issuer's clock may differ from ours."""

_NEW = "get a new token from the issuer"
_CLAIMS = {
    "iss": ("the token is of another issuer", "use the issuer that this service names"),
    "aud": ("the token is for another audience", "ask the issuer for one with this service's audience"),
    "nbf": ("the token is not valid yet", "wait until it is, or set the clock right"),
    "iat": ("the token was issued in the future", "set the clock right"),
    "sub": ("the token names no subject", "ask the issuer for one with a sub of at most 255 printable characters"),
    "exp": ("the token does not say when it ends", "ask the issuer for one with an exp"),
}


class KeySource(Protocol):
    """Where the issuer's keys come from."""

    async def find(self, kid: str | None, algorithm: str) -> Key | None: ...


class Tokens:
    """Tells whose a token is. `clock` is seconds since the epoch."""

    def __init__(self, keys: KeySource, issuer: str, audience: str, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    async def subject(self, token: str) -> str:
        """`<iss> <sub>` of a token that is signed by the issuer, for this audience, and valid now.

        Raises:
            InvalidToken: it is not.
            IssuerAway: nobody can tell now.
        """
        if len(token) > LONGEST_TOKEN:
            raise InvalidToken(f"the token is over {LONGEST_TOKEN} octets", "ask the issuer for one with fewer claims")
        kid, algorithm = _header(token)
        key = await self._keys.find(kid, algorithm)
        if key is None:
            raise InvalidToken("the issuer has no key of this name", _NEW)
        claims = _claims(token, key)
        self._check(claims)
        subject = subject_of(self._issuer, claims["sub"])
        if subject is None:
            raise InvalidToken(*_CLAIMS["sub"])
        return subject

    def _check(self, claims: dict[str, Any]) -> None:
        registry = jwt.JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=SKEW,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            registry.validate(claims)
        except ExpiredTokenError:
            raise InvalidToken("the token has expired", _NEW) from None
        except MissingClaimError as error:
            raise InvalidToken(f"the token lacks a claim: {error.claim}", _NEW) from None
        except InvalidClaimError as error:
            raise InvalidToken(*_CLAIMS.get(error.claim, ("a claim cannot be used", _NEW))) from None


class _AllowList(jws.JWSRegistry):
    """Asymmetric algorithms alone: never `none`, and no HMAC, for which a public key would do as the secret (RFC 8725
    section 3.1). Unknown header fields are ignored (RFC 7515 section 4), critical ones are not."""

    max_header_length = 4_096

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


_REGISTRY = _AllowList(strict_check_header=False)


def _header(token: str) -> tuple[str | None, str]:
    """The key's name and the algorithm; nothing is verified yet."""
    try:
        header = jws.extract_compact(token.encode("ascii"), registry=_REGISTRY).headers()
    except Exception:  # hostile tokens break the reader in more ways than it documents
        raise InvalidToken("this is neither an API key nor a signed token", "check that it was copied whole") from None
    kid, algorithm = header.get("kid"), header.get("alg")
    if algorithm not in ALGORITHMS or not isinstance(kid, str | None):
        raise InvalidToken("the token is not signed by an algorithm of ours", f"use one of {', '.join(ALGORITHMS)}")
    return kid, algorithm


def _claims(token: str, key: Key) -> dict[str, Any]:
    """The claims, once the signature is right."""
    try:
        return jwt.decode(token, key, registry=_REGISTRY).claims
    except (JoseError, ValueError, TypeError, RecursionError):
        raise InvalidToken("the token's signature is wrong", _NEW) from None
