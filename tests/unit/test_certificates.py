"""Which certificates mail can be sealed to, and what is wrong with the others."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysequoia import Cert

from serving.encryption.certificates import Unusable, generate_test_key, read_certificate
from tests.unit.certificates import CERTIFICATE, NOW, crowded, lasting, revoked, signing_only

UNUSABLE = {
    "revoked": (revoked(), 0),
    "expired": (lasting(100), 200),
    "cannot encrypt": (signing_only(), 0),
    "address is not in": (generate_test_key("eve@home.example", "Eve <ann@home.example>")[0].encode(), 0),
    "unreadable": (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnone\n", 0),
    "larger than 1 MiB": (b"x" * 4_000_000, 0),
    "more than 16 encryption keys": (crowded([None] * 17), 0),
    "more than 256 user IDs": (crowded([None], user_ids=257), 0),
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_unusable_certificates_are_told_apart(reason: str) -> None:
    """Whoever must bring a new certificate has to know what is wrong with the old one."""
    octets, later = UNUSABLE[reason]
    judged = read_certificate(octets, "ann@home.example", datetime.fromtimestamp(NOW.timestamp() + later, UTC))

    assert isinstance(judged, Unusable)
    assert reason in judged.reason
    assert "example" not in judged.reason


@pytest.mark.parametrize("address", ["ann@home.example", "ANN@Home.Example", "ann@home.example."])
def test_a_usable_certificate_is_found_under_every_spelling_of_the_address(address: str) -> None:
    """Case in an address must not park a mail."""
    assert isinstance(read_certificate(CERTIFICATE.encode(), address, NOW), Cert)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_hostile_certificates_are_unreadable_and_nothing_worse(octets: bytes) -> None:
    """Anybody can upload anything as a key."""
    valid = bytes(Cert.from_bytes(CERTIFICATE.encode()))
    for mangled in (octets, valid[: len(octets)] + octets, octets + valid):
        assert isinstance(read_certificate(mangled, "ann@home.example", NOW), Cert | Unusable)


def test_a_certificate_with_as_many_keys_and_user_ids_as_we_read_is_usable() -> None:
    """The bound is against hostile certificates; people rotate keys and have many addresses."""
    certificate = crowded([None] * 16 + [1] * 30, user_ids=256)

    assert isinstance(read_certificate(certificate, "ann@home.example", NOW + timedelta(seconds=2)), Cert)
