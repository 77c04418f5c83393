"""OpenPGP or S/MIME: what the recipient's certificates and wishes say, and never open for want of either."""

import json
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from serving.encryption.certificates import generate_test_key
from serving.encryption.smime import open_sealed
from serving.encryption.stage import Encryption
from serving.pipeline import Enclosed, Keyless
from serving.sealing import LookupKey, UnsealingKey
from serving.values import Sealed
from tests.unit import works
from tests.unit.test_smime_certificates import ADDRESS, KEY, Spec, issue
from tests.unit.test_smime_signing import gateway

NOW = datetime.now(UTC)
CONTENT, DELIVERY = UnsealingKey(b"\x11" * 32), UnsealingKey(b"\x22" * 32)
CERTIFICATE = issue(Spec(KEY))
SMIME = CERTIFICATE.public_bytes(Encoding.PEM).decode()
OPENPGP = generate_test_key(ADDRESS, "Ann")[0]
MAIL = b"From: Ops <ops@bank.example>\r\nSubject: disk full on db1\r\n\r\nsecret-canary: 97 %\r\n"


class Broker:
    """One recipient with these certificates and this wish."""

    def __init__(self, certificates: str, wish: str | None) -> None:
        sealed = CONTENT.sealing_key.seal(certificates.encode()).hex()
        self._row = {"certificate": sealed, "policy": {"open": False, "sealing": wish}}

    async def query(self, name: str, /, **_: Any) -> list[dict[str, Any]]:
        return [self._row] if name == "recipient" else []


async def handled(certificates: str, wish: str | None = None, *, can_smime: bool = True) -> Enclosed | Keyless:
    encryption = Encryption(
        Broker(certificates, wish),
        CONTENT,
        DELIVERY.sealing_key,
        "clarion@gate.example",
        NOW.timestamp,
        lookup=LookupKey(b"l" * 32),
        smime_signer=gateway() if can_smime else None,
    )
    address = CONTENT.sealing_key.seal(ADDRESS.encode())
    work = works.work(address=address, facts={}, body=CONTENT.sealing_key.seal(MAIL), accepted_at=NOW.timestamp())
    outcome = await encryption.handle(work)
    assert isinstance(outcome, Enclosed | Keyless)
    return outcome


@pytest.mark.parametrize(
    ("certificates", "wish", "method"),
    [
        (OPENPGP, None, "openpgp"),
        (SMIME, None, "smime"),
        (SMIME + OPENPGP, None, "openpgp"),
        (SMIME + OPENPGP, "smime", "smime"),
        (OPENPGP + SMIME, "openpgp", "openpgp"),
        (OPENPGP, "smime", "openpgp"),
    ],
)
async def test_the_recipient_decides_and_openpgp_is_first_among_equals(
    certificates: str, wish: str | None, method: str
) -> None:
    """A wish that cannot be fulfilled holds no mail; nothing of it is ever open."""
    outcome = await handled(certificates, wish)
    assert isinstance(outcome, Enclosed)
    assert isinstance(outcome.envelope, Sealed)
    _, _, mail = DELIVERY.unseal(outcome.envelope.body).partition(b"\n")

    assert outcome.envelope.method == method
    assert b"canary" not in mail
    assert b"disk full" not in mail


async def test_what_is_sealed_with_smime_opens_with_the_recipients_key_alone() -> None:
    """The stage's own mail, from the outside to the last line: the original and the gateway's signature."""
    outcome = await handled(SMIME)
    assert isinstance(outcome, Enclosed)
    head, _, mail = DELIVERY.unseal(outcome.envelope.body).partition(b"\n")
    outside = message_from_bytes(mail, policy=policy.SMTP)
    inside = open_sealed(mail, KEY, CERTIFICATE, gateway().certificate)

    assert (outside["Subject"], json.loads(head)["rcpt_to"]) == ("[...]", ADDRESS)
    assert b"Subject: disk full on db1" in inside
    assert inside.endswith(b"secret-canary: 97 %\r\n")


async def test_without_a_key_of_its_own_the_gateway_holds_what_smime_would_seal() -> None:
    """An S/MIME mail that nobody signed proves nothing: it is held, and the reason said."""
    assert await handled(SMIME, can_smime=False) == Keyless("the gateway has no key for S/MIME")
    assert isinstance(await handled(SMIME + OPENPGP, can_smime=False), Enclosed)
