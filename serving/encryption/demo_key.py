"""Keys for a demo's recipients, who would otherwise bring their own: OpenPGP version 4, as GnuPG makes and reads them.

PySequoia generates keys too, but they announce SEIPD version 2 (RFC 9580), which GnuPG up to 2.4 cannot decrypt, and it
has no way to leave that out. So the few packets are written here: RFC 4880, curves as in RFC 9580 sections 9.2 and 11.
"""

import hashlib
import re

from nacl.bindings import crypto_scalarmult_base
from nacl.signing import SigningKey
from nacl.utils import random
from pysequoia import ArmorKind, armor

_SECRET_KEY, _SECRET_SUBKEY, _PUBLIC_KEY, _PUBLIC_SUBKEY, _USER_ID, _SIGNATURE = 5, 7, 6, 14, 13, 2
_EDDSA = b"\x16" + b"\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01"
_ECDH = b"\x12" + b"\x0a\x2b\x06\x01\x04\x01\x97\x55\x01\x05\x01"
_KDF = b"\x03\x01\x08\x07"  # SHA-256, AES-128
_POSITIVE_CERTIFICATION, _SUBKEY_BINDING = 0x13, 0x18
_CERTIFY_AND_SIGN, _ENCRYPT = b"\x03", b"\x0c"
_SHA512, _AES256, _ONLY_SEIPD_V1 = b"\x0a", b"\x09", b"\x01"
_UNENCRYPTED = b"\x00"
_NOT_IN_A_NAME = re.compile(r"[^\w .,&\'()+-]")


def generate_demo_key(address: str, name: str, now: float) -> tuple[str, str]:
    """A new armoured (certificate, secret key), created at `now` (seconds since the epoch), without a password."""
    created = int(now).to_bytes(4, "big")
    signing = SigningKey.generate()
    scalar = _clamped(random(32))
    primary = b"\x04" + created + _EDDSA + _mpi(b"\x40" + bytes(signing.verify_key))
    subkey = b"\x04" + created + _ECDH + _mpi(b"\x40" + crypto_scalarmult_base(scalar)) + _KDF
    user_id = f"{_NOT_IN_A_NAME.sub('', name).strip()} <{address}>".encode()
    named = b"\xb4" + len(user_id).to_bytes(4, "big") + user_id
    certification = _signature(signing, primary, named, _POSITIVE_CERTIFICATION, created, _CERTIFY_AND_SIGN)
    binding = _signature(signing, primary, _hashed_key(subkey), _SUBKEY_BINDING, created, _ENCRYPT)
    middle = _packet(_USER_ID, user_id) + certification
    certificate = _packet(_PUBLIC_KEY, primary) + middle + _packet(_PUBLIC_SUBKEY, subkey) + binding
    secrets = _secret(primary, bytes(signing)), _secret(subkey, scalar[::-1])
    key = _packet(_SECRET_KEY, secrets[0]) + middle + _packet(_SECRET_SUBKEY, secrets[1]) + binding
    return armor(certificate, ArmorKind.PublicKey), armor(key, ArmorKind.SecretKey)


def _signature(signing: SigningKey, primary: bytes, subject: bytes, kind: int, created: bytes, flags: bytes) -> bytes:
    """A version 4 signature packet by the primary key over itself and the subject (RFC 4880, 5.2.4)."""
    fingerprint = hashlib.sha1(_hashed_key(primary), usedforsecurity=False).digest()
    preferences = ((11, _AES256), (21, _SHA512), (30, _ONLY_SEIPD_V1)) if kind == _POSITIVE_CERTIFICATION else ()
    hashed = b"".join(
        bytes((len(value) + 1, number)) + value
        for number, value in ((2, created), (27, flags), *preferences, (33, b"\x04" + fingerprint))
    )
    head = bytes((4, kind)) + _EDDSA[:1] + _SHA512 + len(hashed).to_bytes(2, "big") + hashed
    trailer = b"\x04\xff" + len(head).to_bytes(4, "big")
    digest = hashlib.sha512(_hashed_key(primary) + subject + head + trailer).digest()
    unhashed = b"\x09\x10" + fingerprint[-8:]
    signed = signing.sign(digest).signature
    body = head + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2] + _mpi(signed[:32]) + _mpi(signed[32:])
    return _packet(_SIGNATURE, body)


def _secret(public: bytes, secret: bytes) -> bytes:
    number = _mpi(secret)
    return public + _UNENCRYPTED + number + (sum(number) % 65_536).to_bytes(2, "big")


def _hashed_key(public: bytes) -> bytes:
    return b"\x99" + len(public).to_bytes(2, "big") + public


def _clamped(scalar: bytes) -> bytes:
    """A Curve25519 scalar as RFC 7748 wants it."""
    return bytes((scalar[0] & 248, *scalar[1:31], scalar[31] & 127 | 64))


def _mpi(octets: bytes) -> bytes:
    """A multiprecision integer (RFC 4880, 3.2): its length in bits, then its octets without leading zeros."""
    number = int.from_bytes(octets, "big")
    return number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _packet(tag: int, body: bytes) -> bytes:
    """A packet with a new-format header of five octets' length (RFC 4880, 4.2.2)."""
    return bytes((0xC0 | tag, 0xFF)) + len(body).to_bytes(4, "big") + body
