"""Registering who may send and who receives: what is personal is sealed before it leaves this process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.addresses import canonical_domain
from serving.authentication.api_keys import new_key
from serving.errors import ConfigurationError
from serving.queue.client import Client
from serving.sealing import LookupKey, SealingKey


@dataclass(frozen=True, slots=True)
class Registrar:
    """Enrols through the broker; holds no key that opens anything."""

    client: Client
    content: SealingKey
    lookup: LookupKey

    async def principal(self, id_: str, name: str, domains: Sequence[str], policy: Mapping[str, Any]) -> str:
        """Register a sender for these From domains; returns its API key, shown this once."""
        key = new_key()
        await self._enroll(id_, name, domains, policy, key_hash=key.hash)
        return key.key

    async def token_principal(
        self, id_: str, name: str, domains: Sequence[str], policy: Mapping[str, Any], subject: str
    ) -> None:
        """Register a sender that comes with an issuer's tokens; `subject` is `<iss> <sub>`, see `subject_of`."""
        await self._enroll(id_, name, domains, policy, subject=subject)

    async def rotate(self, id_: str, overlap: float) -> tuple[str, float]:
        """A sender's new API key, shown this once, and until when its old one is good: `overlap` seconds from now.

        Raises:
            Refused: `not_found`, there is no such sender with a key.
        """
        key = new_key()
        answer = await self.client.execute("rotate_key", id=id_, key_hash=key.hash, overlap=overlap)
        return key.key, float(answer["until"])

    async def recipient(
        self, address: str, certificate: str | None, wishes: Mapping[str, Any], policy: Mapping[str, Any]
    ) -> bytes:
        """Register a recipient with certificates in one text, or none; returns the lookup (32 octets)."""
        lookup = self.lookup.address(address)
        sealed = None if certificate is None else self.content.seal(certificate.encode()).hex()
        await self.client.execute(
            "enroll_recipient",
            lookup=lookup.hex(),
            address=self.content.seal(address.encode()).hex(),
            certificate=sealed,
            wishes=dict(wishes),
            policy=dict(policy),
        )
        return lookup

    async def wishes(self, address: str) -> dict[str, Any]:
        """What a recipient wishes, as it is stored; nothing for one who is not registered."""
        rows = await self.client.query("recipient", lookup=self.lookup.address(address).hex())
        return dict(rows[0]["wishes"]) if rows else {}

    async def _enroll(
        self, id_: str, name: str, domains: Sequence[str], policy: Mapping[str, Any], **known_by: str
    ) -> None:
        scopes = [canonical_domain(domain) for domain in domains]
        if None in scopes:
            raise ConfigurationError("a From domain is no domain name; give it as in mail.example")
        await self.client.execute(
            "enroll_principal", id=id_, name=name, domains=scopes, policy=dict(policy), **known_by
        )
