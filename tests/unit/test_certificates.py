"""Which certificates mail can be sealed to, and what is wrong with the others."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysequoia import Cert, Tsk
from pysequoia.packet import PacketPile, Tag

from serving.encryption.certificates import Unusable, generate_test_key, read_certificate

NOW = datetime.now(UTC)
CERTIFICATE, SECRET = generate_test_key("ann@home.example", "Ann Ünicode")


def _revoked() -> bytes:
    key = Tsk.from_bytes(SECRET.encode())
    certificate = key.extract_certificate()
    return bytes(certificate) + bytes(certificate.revoke(key.certifier()))


def _expired() -> bytes:
    key = Tsk.from_bytes(SECRET.encode())
    soon = datetime.fromtimestamp(NOW.timestamp() + 100, UTC)
    return bytes(key.extract_certificate().set_expiration(soon, key.certifier()))


def _signing_only() -> bytes:
    packets = list(PacketPile.from_bytes(CERTIFICATE.encode()))
    last = max(index for index, packet in enumerate(packets) if packet.tag == Tag.PublicSubkey)
    return bytes(Cert.from_packets(packets[:last]))


UNUSABLE = {
    "revoked": (_revoked(), 0),
    "expired": (_expired(), 200),
    "cannot encrypt": (_signing_only(), 0),
    "address is not in": (generate_test_key("eve@home.example", "Eve <ann@home.example>")[0].encode(), 0),
    "unreadable": (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnone\n", 0),
    "larger than 1 MiB": (b"x" * 4_000_000, 0),
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
