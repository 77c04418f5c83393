"""The cast gets its API keys, test keys and money."""

import asyncio
from contextlib import suppress
from pathlib import Path

from serving import money
from serving.demo.cast import Cast, Person
from serving.demo.running import Running
from serving.encryption.certificates import generate_test_key
from serving.errors import BrokerUnavailable, ConfigurationError
from serving.payment.provider import Done
from serving.payment.topup import top_up

PAYMENT_TRIES = 60
BETWEEN_TRIES = 0.5
"""Seconds; the provider may be killed while somebody pays."""


async def enrol(running: Running, cast: Cast) -> dict[str, str]:
    """The senders' API keys by id. Recipients get test keys, kept in `recipients/`, and their first money."""
    keys = {
        sender.id: await running.registrar.principal(sender.id, sender.name, sender.domains, {})
        for sender in cast.senders
    }
    folder = running.settings.home / "recipients"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number, person in enumerate(cast.people):
        await _enrol_person(running, person, folder / f"{number:05d}.asc")
    return keys


async def pay(running: Running, lookup: bytes, amount: int, key: str) -> None:
    """A recipient pays `amount` minor units by phone. An answer that is lost is asked for under the same key.

    Raises:
        ConfigurationError: the provider stays away, or declines.
    """
    running.paid.add(key)
    for _ in range(PAYMENT_TRIES):
        if await _has_paid(running, lookup, amount, key):
            return
        await asyncio.sleep(BETWEEN_TRIES)
    raise ConfigurationError(f"the sandbox provider takes no payment; see {running.settings.home / 'log'}")


async def _enrol_person(running: Running, person: Person, key_file: Path) -> None:
    certificate = None
    if person.has_key:
        certificate, secret = await asyncio.to_thread(generate_test_key, person.address, person.name)
        await asyncio.to_thread(_keep_secret, key_file, secret)
    lookup = await running.registrar.recipient(person.address, certificate, person.wishes, person.policy)
    if person.balance:
        await pay(running, lookup, person.balance, f"demo:first:{lookup.hex()[:16]}")


async def _has_paid(running: Running, lookup: bytes, amount: int, key: str) -> bool:
    ledger, provider, currency = running.client, running.provider, running.settings.currency
    with suppress(BrokerUnavailable):
        wallet = money.wallet_of(lookup)
        answer = await top_up(ledger, provider, wallet=wallet, amount=amount, currency=currency, key=key)
        return isinstance(answer, Done)
    return False


def _keep_secret(path: Path, secret: str) -> None:
    path.touch(mode=0o600)
    path.write_text(secret, encoding="utf-8")
