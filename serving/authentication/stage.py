"""Who sent it: an API key vouches for the domains in its scope; for what a relay hands on, its mail's own proofs do.

A mail's words are never read. Where two mail programs could show two different senders, nobody is authenticated.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from serving.addresses import canonical_domain, is_within, parents
from serving.authentication.mail_sender import sender_domain
from serving.pipeline import Authenticated, Forged, Unverified
from serving.sealing import UnsealingKey
from serving.stage import Work

Relayed = Callable[[bytes, float], Awaitable[Authenticated | Unverified | Forged]]
"""The verdict on a relayed mail as it is stored, accepted at that moment (seconds since the epoch)."""


class Reader(Protocol):
    """What authentication asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


class Authentication:
    """Decides whether a notification is of whom its From names."""

    def __init__(self, client: Reader, content: UnsealingKey, relayed: Relayed | None = None) -> None:
        """Without `relayed` nobody may hand on the mail of others."""
        self._client = client
        self._content = content
        self._relayed = relayed

    async def handle(self, work: Work) -> Authenticated | Unverified | Forged:
        """Authenticated inside the key's scope, Forged on another principal's domain, Unverified otherwise; what comes
        from one that relays is judged by SPF, DKIM, DMARC and ARC alone, for strangers wrote it.

        Raises:
            Unsealable: the body is sealed for another key or was altered.
            Temporary: the DNS does not answer, or other mail waits for it.
        """
        mail = self._content.unseal(work.body)
        principal = next(iter(await self._client.query("principal", id=work.principal)), None)
        is_known = principal is not None and principal["revoked_at"] is None
        if self._relayed is not None and principal is not None and is_known and _relays(principal):
            return await self._relayed(mail, work.accepted_at)
        domain = sender_domain(mail)
        if isinstance(domain, Unverified):
            return domain
        if principal is not None and _in_scope(domain, principal["domains"]):
            return Authenticated("api_key") if is_known else Unverified("the API key is revoked")
        if await self._owned_by_another(domain, work.principal):
            return Forged("the From domain belongs to another sender")
        return Unverified("no such sender" if principal is None else "the From domain is outside the API key's scope")

    async def _owned_by_another(self, domain: str, principal: str) -> bool:
        for name in parents(domain):
            owners = await self._client.query("domain_owners", domain=name)
            if any(owner["principal"] != principal for owner in owners):
                return True
        return False


def _relays(principal: Mapping[str, Any]) -> bool:
    return principal.get("policy", {}).get("relays") is True


def _in_scope(domain: str, scopes: Iterable[str]) -> bool:
    return any(scope is not None and is_within(domain, scope) for scope in map(canonical_domain, scopes))
