"""The keys of signatures: which records hold one that counts."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from serving.authentication.dns_key import Key, fetch_key, read_key
from serving.authentication.mail_finding import Flaw, Result
from serving.authentication.relayed import Standing
from tests.unit.zones import MAIL, REJECT, RSA, Zones, judge, rsa_signer, trace


def _record(bits: int, exponent: int = 65_537) -> str:
    numbers = rsa.RSAPublicNumbers(exponent, (1 << bits) - 159)
    public = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"p={base64.b64encode(public).decode()}"


@pytest.mark.parametrize(
    ("record", "result"),
    [
        (rsa_signer(1024).record, None),
        (_record(1023), Result.POLICY),
        (_record(4097), Result.POLICY),
        (_record(16_384), Result.POLICY),
        (_record(2048, (1 << 2047) - 1), Result.PERMERROR),
        (_record(100_000), Result.PERMERROR),
        ("v=DKIM1; p=", Result.PERMERROR),
        ("v=DKIM2; p=AAAA", Result.PERMERROR),
        ("v=DKIM1; k=ed25519; p=AAAA", Result.PERMERROR),
        ("v=DKIM1; k=ed448; p=AAAA", Result.PERMERROR),
        ("p=!!!", Result.PERMERROR),
        ("", Result.PERMERROR),
        ("\udcff=\udcfe", Result.PERMERROR),
        (f"{RSA.record}; s=tlsrpt", Result.PERMERROR),
        (f"{RSA.record}; h=sha1", Result.PERMERROR),
        (f"{RSA.record}; h=sha1:sha256; s=email:x; t=y", None),
    ],
)
def test_a_key_counts_only_where_it_is_one_and_strong_enough(record: str, result: Result | None) -> None:
    """RFC 8301: RSA keys under 1024 bits are broken; monstrous ones would cost us minutes of arithmetic."""
    found = read_key(record)

    assert (None if isinstance(found, Key) else found.result) is result


async def test_a_weak_key_proves_nothing() -> None:
    """Whoever can factor the key can sign; so the arithmetic is not even asked."""
    weak = {"s1._domainkey.example.com": {"TXT": [_record(1023)]}}

    verdict = await judge(RSA.sign(MAIL, "example.com"), trace(), REJECT, weak)

    assert verdict.standing is Standing.FAILED


async def test_several_keys_under_one_selector_are_none() -> None:
    """The order of DNS answers is chance, and a verdict must not be."""
    zones = Zones({"s1._domainkey.example.com": {"TXT": [RSA.record, RSA.record]}})

    found = await fetch_key("example.com", "s1", zones)

    assert isinstance(found, Flaw)
    assert found.result is Result.PERMERROR
