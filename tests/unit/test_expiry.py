"""When certificates stop being usable, seen before it happens."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.public import PrivateKey
from pysequoia import Cert, Tsk

from serving.encryption.certificates import read_certificate
from serving.encryption.expiry import usable_until
from serving.expiring import Lapsing, lapsing
from serving.sealing import UnsealingKey
from tests.unit.certificates import ANN, CERTIFICATE, NOW, crowded, lasting

DAY = 86_400.0
WHOLE = NOW.replace(microsecond=0)
CONTENT = UnsealingKey(bytes(PrivateKey.generate()))


def x509_until(end: datetime) -> x509.Certificate:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(end - timedelta(days=90)).not_valid_after(end).sign(key, hashes.SHA256())


def sealed(text: str) -> str:
    return CONTENT.sealing_key.seal(text.encode()).hex()


def armoured(octets: bytes) -> str:
    return str(Cert.from_bytes(octets))


def after(seconds: float) -> datetime:
    return WHOLE + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("octets", "end"),
    [
        (CERTIFICATE.encode(), None),
        (lasting(100 * DAY), 100 * DAY),
        (crowded([5 * DAY]), 5 * DAY),
        (crowded([5 * DAY, 9 * DAY, 7 * DAY]), 9 * DAY),
        (crowded([5 * DAY, None]), None),
    ],
    ids=["for ever", "the whole certificate", "its key", "the last of several keys", "a key for ever"],
)
def test_an_openpgp_certificate_lasts_as_long_as_its_last_encryption_key(octets: bytes, end: float | None) -> None:
    """A subkey that ends before the certificate is what holds mail back unseen."""
    certificate = read_certificate(octets, ANN, NOW)

    assert isinstance(certificate, Cert)
    until = usable_until(certificate)
    assert until == end if end is None or until is None else abs(until - after(end)) <= timedelta(seconds=1)


def test_the_certificate_ends_its_keys_where_it_ends_first() -> None:
    """A key without an end is of no use below a certificate that has one."""
    key = Tsk.generate(f"Ann <{ANN}>", validity_seconds=int(50 * DAY))
    sooner = key.extract_certificate().set_expiration(after(20 * DAY), key.certifier())

    assert usable_until(sooner) == after(20 * DAY)


def test_a_revoked_encryption_key_prolongs_nothing() -> None:
    """It must not make a certificate look alive that only it keeps alive."""
    certificate = Cert.from_bytes(crowded([9 * DAY, 5 * DAY], revoked=[0]))
    until = usable_until(certificate)

    assert until is not None
    assert abs(until - after(5 * DAY)) <= timedelta(seconds=1)
    with pytest.raises(ValueError, match="cannot encrypt"):
        usable_until(Cert.from_bytes(crowded([None], revoked=[0])))


def test_an_x509_certificate_lasts_until_the_end_of_its_validity() -> None:
    """S/MIME certificates last a year or two; their owners forget them."""
    assert usable_until(x509_until(after(3 * DAY))) == after(3 * DAY)


@dataclass
class Reader:
    """One recipient with this bundle of certificates."""

    bundle: str

    async def query(self, _: str, /, **parameters: Any) -> list[dict[str, Any]]:
        row = {"lookup": "ab", "address": sealed(ANN), "certificate": sealed(self.bundle)}
        return [] if parameters.get("after") == "ab" else [row]


@pytest.mark.parametrize(("days", "warned"), [(29.9, True), (30, True), (30.1, False)])
async def test_who_ends_within_thirty_days_is_named(days: float, warned: bool) -> None:
    """Early enough to make a new one, not so early that warnings are ignored."""
    found = await lapsing(Reader(armoured(lasting(days * DAY))), CONTENT, WHOLE)

    assert [isinstance(each, Lapsing) and each.recipient for each in found] == [ANN] * warned


async def test_one_that_lasts_is_enough() -> None:
    """Mail is sealed to it; nobody needs to be troubled."""
    both = armoured(lasting(3 * DAY)) + CERTIFICATE

    assert await lapsing(Reader(both), CONTENT, WHOLE) == []
    assert await lapsing(Reader(CERTIFICATE), CONTENT, WHOLE) == []
