"""Who calls: by an API key, found by its hash, or an issuer's token. What the store said is believed for seconds."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from starlette.requests import Request

from serving.authentication.api_keys import hash_key, is_key
from serving.errors import InvalidToken, IssuerAway
from serving.gateway.limits import Lockouts, Rates
from serving.gateway.problems import ISSUER_AWAY, Problem, problem
from serving.gateway.uses import Uses

BELIEVED = 3.0
MOST_REMEMBERED = 1_000


class Directory(Protocol):
    """What is asked of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


class Tokens(Protocol):
    """Tells the subject of a bearer token; raises InvalidToken or IssuerAway."""

    async def subject(self, token: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller who is known; `relays` where it may hand on the mail of others."""

    id: str
    domains: tuple[str, ...]
    relays: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How much callers may ask, and who is told to wait."""

    rates: Rates
    lockouts: Lockouts


class Credential(NamedTuple):
    """What the store knows a principal by: the kind `key` with its hash, or `subject` with `<iss> <sub>`."""

    kind: str
    name: str


class Principals:
    """Tells the principal of a request; what was revoked works for at most `BELIEVED` seconds longer.

    `clock` is seconds since the epoch. Without `tokens` only API keys are taken.
    """

    def __init__(
        self, directory: Directory, clock: Callable[[], float], *, limits: Limits, uses: Uses, tokens: Tokens | None
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self._uses = uses
        self._tokens = tokens
        self._known: dict[Credential, tuple[float, Principal]] = {}

    async def of(self, request: Request) -> Principal:
        """The caller; its quota is told in `request.state.headers`.

        Raises:
            Problem: 401, nothing that tells who calls; 429, the caller's quota is used up, or its address failed too
                often; 503, the issuer of its token is away.
            BrokerUnavailable: nobody can tell now.
        """
        credential = await self.log_in(_presented(request), request.client.host if request.client else "")
        principal = await self.known_by(credential)
        self._charge(request, principal)
        return principal

    async def log_in(self, presented: str, address: str) -> Credential:
        """What the store knows the owner of this API key or token by, whom `known_by` tells.

        Raises:
            Problem: 401, it is none of ours, and the failure is counted for the address; 429, the address failed too
                often; 503, the issuer of the token is away.
            BrokerUnavailable: nobody can tell now.
        """
        try:
            credential = await self._credential(presented)
            await self.known_by(credential)
        except Problem as refusal:
            self._count_failure(address, refusal)
            raise
        self._uses.note(*credential)
        return credential

    async def check_again(self, request: Request) -> None:
        """Once more, where time has passed since `of`: a body may take as long to come as its sender likes.

        Raises:
            Problem: 401, what the caller came with has ended or was revoked meanwhile; 503 as above.
            BrokerUnavailable: nobody can tell now.
        """
        await self.known_by(await self._credential(_presented(request)))

    def _count_failure(self, address: str, refusal: Problem) -> None:
        """Raises Problem 429 instead, where the address is locked."""
        if refusal.answer.status != 401:
            return
        wait = self._limits.lockouts.failed(address)
        if wait:
            raise _too_many(wait, "locked", "too many wrong keys or tokens from this address", "use a valid one, or")

    def _charge(self, request: Request, principal: Principal) -> None:
        allowance = self._limits.rates.take(principal.id)
        if allowance is None:
            return
        request.state.headers = allowance.headers
        if allowance.wait:
            raise _too_many(allowance.wait, "rate_limited", "too many requests of this sender", "nothing was done;")

    async def _credential(self, presented: str) -> Credential:
        if is_key(presented):
            return Credential("key", hash_key(presented))
        if self._tokens is None:
            raise _unauthorized("the API key has not the form of one", "check that it was copied whole")
        try:
            return Credential("subject", await self._tokens.subject(presented))
        except InvalidToken as invalid:
            raise _unauthorized(str(invalid), invalid.hint) from None
        except IssuerAway:
            raise Problem(ISSUER_AWAY) from None

    async def known_by(self, credential: Credential) -> Principal:
        """Whose it is; Problem 401 where it was revoked or has ended meanwhile."""
        until, principal = self._known.get(credential, (0.0, None))
        if principal is not None and self._clock() < until:
            return principal
        row = await self._row(credential)
        ends = row["expires_at"]
        if row["revoked_at"] is not None:
            raise _unauthorized(f"this {_WORDS[credential.kind]} is revoked", "ask who runs this service for a new one")
        if ends is not None and ends <= self._clock():
            raise _unauthorized(f"this {_WORDS[credential.kind]} has ended", "use the one that took its place")
        return self._remember(credential, Principal(row["id"], tuple(row["domains"]), _relays(row)), ends)

    async def _row(self, credential: Credential) -> dict[str, Any]:
        if credential.kind == "key":
            rows = await self._directory.query("principal_by_key", key_hash=credential.name)
        else:
            rows = await self._directory.query("principal_by_subject", subject=credential.name)
        if rows and hmac.compare_digest(rows[0]["credential"].encode(), credential.name.encode()):
            return rows[0]
        if credential.kind == "key":
            raise _unauthorized("unknown API key", "ask for one: `clarion principal add`")
        raise _unauthorized("no sender is known by this token", "have it registered: `clarion principal add --subject`")

    def _remember(self, credential: Credential, principal: Principal, ends: float | None) -> Principal:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        until = self._clock() + BELIEVED
        self._known[credential] = (until if ends is None else min(until, ends), principal)
        return principal


def _relays(row: dict[str, Any]) -> bool:
    return row.get("policy", {}).get("relays") is True


_WORDS = {"key": "API key", "subject": "token's subject"}


def _presented(request: Request) -> str:
    """What the caller sent to say who it is (RFC 6750 section 2.1)."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        hint = "send `Authorization: Bearer <API key>`"
        raise problem(401, "unauthorized", "no API key", hint, WWW_Authenticate="Bearer")
    return credential.strip()


def _unauthorized(detail: str, hint: str) -> Problem:
    """A key or token was sent, and it is none of ours (RFC 6750 section 3)."""
    return problem(401, "unauthorized", detail, hint, WWW_Authenticate='Bearer error="invalid_token"')


def _too_many(wait: int, error: str, detail: str, hint: str) -> Problem:
    """See RFC 6585 section 4."""
    return problem(429, error, detail, f"{hint} try again in {wait} s", Retry_After=str(wait))
