"""OpenPGP certificates in every state, for the tests of all the ways by which they come."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from nacl.bindings import crypto_scalarmult_base
from nacl.signing import SigningKey
from nacl.utils import random
from pysequoia import Cert, Tsk
from pysequoia.packet import PacketPile, Tag

from serving.encryption import demo_key as packets
from serving.encryption.certificates import generate_test_key

ANN = "ann@home.example"
NOW = datetime.now(UTC)
CERTIFICATE, SECRET = generate_test_key(ANN, "Ann")


def binary(certificate: str) -> bytes:
    """The octets that directories publish and mails announce."""
    return bytes(Cert.from_bytes(certificate.encode()))


def fresh(address: str = ANN) -> bytes:
    """A new certificate for the address."""
    return binary(generate_test_key(address, "Ann")[0])


def revoked(certificate: str = CERTIFICATE, secret: str = SECRET) -> bytes:
    """The same, revoked by its owner."""
    public = Cert.from_bytes(certificate.encode())
    return bytes(Cert.from_bytes(bytes(public) + bytes(public.revoke(Tsk.from_bytes(secret.encode()).certifier()))))


def lasting(seconds: float) -> bytes:
    """Ann's certificate, which ends so long after NOW."""
    end = NOW + timedelta(seconds=seconds)
    certifier = Tsk.from_bytes(SECRET.encode()).certifier()
    return bytes(Cert.from_bytes(CERTIFICATE.encode()).set_expiration(end, certifier))


def signing_only() -> bytes:
    """Ann's certificate without the key that encrypts."""
    every = list(PacketPile.from_bytes(CERTIFICATE.encode()))
    last = max(index for index, packet in enumerate(every) if packet.tag == Tag.PublicSubkey)
    return bytes(Cert.from_packets(every[:last]))


def crowded(lifetimes: Sequence[float | None], *, user_ids: int = 1, revoked: Collection[int] = ()) -> bytes:
    """A certificate of Ann's with an encryption key for each lifetime: seconds from NOW, None where it has no end.

    The keys at the places in `revoked` are.
    """
    created, signing = int(NOW.timestamp()).to_bytes(4, "big"), SigningKey.generate()
    primary = b"\x04" + created + packets._EDDSA + packets._mpi(b"\x40" + bytes(signing.verify_key))
    octets = packets._packet(6, primary)
    for number in range(user_ids):
        name = f"Ann <{ANN}>" if number == 0 else f"Ann <ann{number}@home.example>"
        signed = packets._hashed_key(primary) + b"\xb4" + len(name).to_bytes(4, "big") + name.encode()
        octets += packets._packet(13, name.encode()) + _signature(signing, 0x13, signed, {2: created, 27: b"\x03"})
    for number, lifetime in enumerate(lifetimes):
        point = crypto_scalarmult_base(packets._clamped(random(32)))
        subkey = b"\x04" + created + packets._ECDH + packets._mpi(b"\x40" + point) + packets._KDF
        subpackets = {2: created, 27: b"\x0c"} | ({} if lifetime is None else {9: int(lifetime).to_bytes(4, "big")})
        signed = packets._hashed_key(primary) + packets._hashed_key(subkey)
        octets += packets._packet(14, subkey) + _signature(signing, 0x18, signed, subpackets)
        if number in revoked:
            octets += _signature(signing, 0x28, signed, {2: created})
    return octets


def _signature(signing: SigningKey, kind: int, signed: bytes, subpackets: Mapping[int, bytes]) -> bytes:
    """A version 4 signature packet (RFC 4880, 5.2.3): EdDSA, SHA-512, all subpackets hashed."""
    hashed = b"".join(bytes((len(value) + 1, number)) + value for number, value in subpackets.items())
    head = bytes((4, kind, 0x16, 0x0A)) + len(hashed).to_bytes(2, "big") + hashed
    digest = hashlib.sha512(signed + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
    made = signing.sign(digest).signature
    numbers = packets._mpi(made[:32]) + packets._mpi(made[32:])
    return packets._packet(2, head + b"\0\0" + digest[:2] + numbers)
