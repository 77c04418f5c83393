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
        scopes = [canonical_domain(domain) for domain in domains]
        if None in scopes:
            raise ConfigurationError("a From domain is no domain name; give it as in mail.example")
        key = new_key()
        await self.client.execute(
            "enroll_principal", id=id_, name=name, key_hash=key.hash, domains=scopes, policy=dict(policy)
        )
        return key.key

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
