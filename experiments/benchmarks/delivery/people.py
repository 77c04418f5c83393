"""Who sends and who receives: one sender with a domain; a recipient who needs nothing, or has a key and money."""

import asyncio

from experiments.benchmarks.delivery.house import SENDER
from serving import money
from serving.encryption.certificates import generate_test_key
from serving.enrolment import Registrar
from serving.errors import ConfigurationError
from serving.keyring import load_sealing
from serving.payment.provider import Done
from serving.payment.sandbox_client import SandboxClient
from serving.payment.topup import top_up
from serving.queue.client import Client
from serving.sealing import load_lookup
from serving.settings import Settings

FROM, STRANGER = "ops@bank.example", "ops@elsewhere.example"
"""The second lies outside the sender's scope: its mail cannot become urgent, and waits for the digest."""
RECIPIENT = "ann@home.example"
FUNDS = 10_000_000  # minor units


async def enrol_open(settings: Settings) -> None:
    """The sender's policy: unsealed, and nobody pays."""
    client = await Client.connect(settings.socket)
    await _registrar(settings, client).principal(SENDER, SENDER, ["bank.example"], {"open": True, "pays": "nobody"})
    await client.close()


async def enrol_sealed(settings: Settings) -> None:
    """The recipient has a certificate and money, and pays for each notification."""
    client = await Client.connect(settings.socket)
    registrar = _registrar(settings, client)
    await registrar.principal(SENDER, SENDER, ["bank.example"], {})
    certificate, _ = await asyncio.to_thread(generate_test_key, RECIPIENT, "Ann")
    lookup = await registrar.recipient(RECIPIENT, certificate, {}, {})
    async with SandboxClient(settings.provider_url) as provider:
        wallet, currency = money.wallet_of(lookup), settings.currency
        paid = await top_up(client, provider, wallet=wallet, amount=FUNDS, currency=currency, key="bench:funds")
    await client.close()
    if not isinstance(paid, Done):
        raise ConfigurationError("the sandbox provider takes no payment")


def _registrar(settings: Settings, client: Client) -> Registrar:
    return Registrar(client, load_sealing(settings.keys, "content"), load_lookup(settings.keys))
