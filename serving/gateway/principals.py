"""Who calls: API keys are compared by their hash; what the store said is believed for a few seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request

from serving.authentication.api_keys import hash_key, is_key
from serving.gateway.problems import Problem, problem

BELIEVED = 3.0
MOST_REMEMBERED = 1_000


class Directory(Protocol):
    """What is asked of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller with a valid key."""

    id: str
    domains: tuple[str, ...]


class Principals:
    """Tells the principal of a request; a revoked key works for at most `BELIEVED` seconds longer."""

    def __init__(self, directory: Directory, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock
        self._known: dict[str, tuple[float, Principal]] = {}

    async def of(self, request: Request) -> Principal:
        """The caller.

        Raises:
            Problem: 401, no key, an unknown or a revoked one.
            BrokerUnavailable: nobody can tell now.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("no API key", "send `Authorization: Bearer <API key>`")
        if not is_key(key.strip()):
            raise _unauthorized("the API key has not the form of one", "check that it was copied whole")
        return await self._by_hash(hash_key(key.strip()))

    async def _by_hash(self, key_hash: str) -> Principal:
        until, principal = self._known.get(key_hash, (0.0, None))
        if principal is not None and self._clock() < until:
            return principal
        rows = await self._directory.query("principal_by_key", key_hash=key_hash)
        if not rows:
            raise _unauthorized("unknown API key", "ask for one: `clarion principal add`")
        if rows[0]["revoked_at"] is not None:
            raise _unauthorized("this API key is revoked", "ask for a new one: `clarion principal add`")
        return self._remember(key_hash, Principal(rows[0]["id"], tuple(rows[0]["domains"])))

    def _remember(self, key_hash: str, principal: Principal) -> Principal:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[key_hash] = (self._clock() + BELIEVED, principal)
        return principal


def _unauthorized(detail: str, hint: str) -> Problem:
    return problem(401, "unauthorized", detail, hint, WWW_Authenticate="Bearer")
