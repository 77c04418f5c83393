"""Registering: what leaves the process is sealed, and nothing half made is sent."""

from typing import Any

import pytest

from serving.authentication.api_keys import hash_key
from serving.enrolment import Registrar
from serving.errors import ConfigurationError
from serving.queue.client import Client
from serving.sealing import LookupKey, UnsealingKey

KEY = bytes(range(32))
CONTENT, LOOKUP = UnsealingKey(KEY), LookupKey(KEY)
ADDRESS = "Ada@Ops.example"


@pytest.fixture
def registrar(client: Client) -> Registrar:
    return Registrar(client, CONTENT.sealing_key, LOOKUP)


def opened(octets: str) -> str:
    return CONTENT.unseal(bytes.fromhex(octets)).decode()


async def test_a_recipient_is_stored_sealed_and_found_under_every_spelling(registrar: Registrar) -> None:
    """The broker's file must tell nobody who receives mail."""
    lookup = await registrar.recipient(ADDRESS, "a certificate", {"not_urgent": "delay"}, {"pays": False})
    (row,) = await registrar.client.query("recipient", lookup=LOOKUP.address("ada@ops.example").hex())

    assert lookup == LOOKUP.address(ADDRESS)
    assert (opened(row["address"]), opened(row["certificate"])) == (ADDRESS, "a certificate")
    assert (row["wishes"], row["policy"]) == ({"not_urgent": "delay"}, {"pays": False})


async def test_a_recipient_without_a_certificate_has_none(registrar: Registrar) -> None:
    """Sealed emptiness would look like a key, and mail would die instead of waiting."""
    lookup = await registrar.recipient(ADDRESS, None, {}, {})
    (row,) = await registrar.client.query("recipient", lookup=lookup.hex())

    assert row["certificate"] is None


async def test_a_principals_key_is_given_once_and_stored_hashed(registrar: Registrar) -> None:
    """Who reads the store must not be able to send."""
    key = await registrar.principal("ops", "Operations", ["Ops.Example"], {})
    rows: list[dict[str, Any]] = await registrar.client.query("principal_by_key", key_hash=hash_key(key))

    assert [(row["id"], row["domains"]) for row in rows] == [("ops", ["ops.example"])]
    assert key not in str(rows)


async def test_a_domain_that_is_none_registers_nobody(registrar: Registrar) -> None:
    """A sender whose mail can never be authenticated would find out at 2 a.m."""
    with pytest.raises(ConfigurationError, match=r"give it as in mail\.example"):
        await registrar.principal("ops", "Operations", ["ops.example", "no domain"], {})

    assert await registrar.client.query("principal", id="ops") == []
