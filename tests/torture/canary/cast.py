"""Who sends and who receives, so that every stage and every resting place of the pipeline gets some. Nobody's policy
allows mail to travel open."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from serving import money
from serving.encryption.certificates import generate_test_key
from serving.enrolment import Registrar
from serving.errors import BrokerUnavailable, ConfigurationError
from serving.escalation.chain import SHORTEST, Chain, Step, write_chain
from serving.escalation.chain import Person as NextPerson
from serving.keyring import load_sealing
from serving.payment.provider import Done
from serving.payment.sandbox_client import SandboxClient
from serving.payment.topup import top_up
from serving.queue.client import Client
from serving.sealing import load_lookup
from serving.settings import Settings

DOMAIN = "alarms.canary.invalid"
FOREIGN = "elsewhere.canary.invalid"
"""A From domain that the sender's key is not good for."""
ENOUGH = 1_000_000
PATIENCE = 60.0
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient. `share` is how many of every twenty canaries are theirs; `balance` is minor units; `then` is who
    gets what is urgent for them a moment later."""

    name: str
    share: int
    has_key: bool = True
    is_enrolled: bool = True
    balance: int = 0
    wishes: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    policy: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    sender_domain: str = DOMAIN
    then: str = ""

    @property
    def address(self) -> str:
        """Where their mail goes."""
        return _address(self.name)


FREE = MappingProxyType({"pays": False})
PEOPLE: Sequence[Person] = (
    Person("sealed", 4, policy=FREE),
    Person("watched", 2, policy=FREE, then="sealed"),
    Person("paying", 4, balance=ENOUGH),
    Person("broke", 2),
    Person("lapsing", 1, policy={"wait": 1.0, "then": "expire"}),
    Person("keyless", 2, has_key=False, policy=FREE),
    Person("stranger", 1, has_key=False, is_enrolled=False),
    Person("patient", 1, wishes={"not_urgent": "delay"}, policy=FREE),
    Person("doubting", 3, policy=FREE, sender_domain=FOREIGN),
)


@dataclass(frozen=True, slots=True)
class Cast:
    """The enrolled: an API key, and the recipients' secret keys, which are nowhere but here."""

    api_key: str
    secrets: Mapping[str, str]


def recipient_of(number: int) -> Person:
    """Whom the canary of that number is for."""
    turns = [person for person in PEOPLE for _ in range(person.share)]
    return turns[number * 7 % len(turns)]  # 7 has no factor in common with 20: neighbours differ


async def enrol(settings: Settings) -> Cast:
    """Enrol everybody through the broker, and let those pay who have money.

    Raises:
        ConfigurationError: the provider takes no payment.
    """
    client = await Client.connect(settings.socket, timeout=60.0)
    try:
        content = load_sealing(settings.keys, "content")
        registrar = Registrar(client, content, load_lookup(settings.keys))
        key = await registrar.principal("canary", "The canary's alarms", [DOMAIN], {})
        secrets = {}
        for person in filter(lambda person: person.is_enrolled, PEOPLE):
            certificate = None
            if person.has_key:
                certificate, secrets[person.address] = generate_test_key(person.address, person.name)
            lookup = await registrar.recipient(person.address, certificate, person.wishes, person.policy)
            if person.balance:
                await _pay(client, settings, money.wallet_of(lookup), person.balance)
            if person.then:
                chain = Chain((Step(SHORTEST, NextPerson(_address(person.then))),))
                sealed = content.seal(write_chain(chain))
                await client.execute("set_escalation", lookup=lookup.hex(), chain=sealed.hex())
    finally:
        await client.close()
    return Cast(key, secrets)


def _address(name: str) -> str:
    return f"{name}@people.canary.invalid"


async def _pay(client: Client, settings: Settings, wallet: str, amount: int) -> None:
    deadline = time.monotonic() + PATIENCE
    async with SandboxClient(settings.provider_url) as provider:
        while time.monotonic() < deadline:
            try:
                answer = await top_up(
                    client, provider, wallet=wallet, amount=amount, currency=settings.currency, key=f"canary:{wallet}"
                )
            except BrokerUnavailable:
                continue
            if isinstance(answer, Done):
                return
    raise ConfigurationError("the sandbox provider takes no payment; see its log")
