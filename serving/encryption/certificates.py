"""Whether an OpenPGP certificate can be encrypted to now, and if not, why.

PySequoia verifies the certificate's own signatures (Sequoia's StandardPolicy) but encrypts to expired and revoked keys
alike, so both are judged here, for the certificate and for each of its encryption keys.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pysequoia import Cert, encrypt
from pysequoia.packet import Packet, PacketPile, SignatureType, Tag

from serving.addresses import canonical_address
from serving.encryption.demo_key import generate_demo_key

LARGEST_CERTIFICATE = 1 << 20
MOST_KEYS, MOST_USER_IDS = 16, 256
"""Of keys those that encrypt and are alive. A hostile 1 MiB has thousands of both, and verifying takes minutes."""

_KEYS = (Tag.PublicKey, Tag.PublicSubkey)
_EPOCH = datetime.fromtimestamp(0, UTC)
_USER_ID_ADDRESS = re.compile(r"<([^<>]+)>\s*\Z")


@dataclass(frozen=True, slots=True)
class Unusable:
    """Nothing can be sealed to the certificate; `reason` says why and holds nothing personal."""

    reason: str


def read_certificate(octets: bytes, address: str, now: datetime) -> Cert | Unusable:
    """A certificate reduced to the encryption keys that are usable at `now`, or why there is none for this address."""
    if len(octets) > LARGEST_CERTIFICATE:
        return Unusable("the certificate is larger than 1 MiB")
    try:
        certificate = Cert.from_bytes(octets)
        groups = list(_key_groups(certificate))
    except Exception:  # PySequoia raises RuntimeError with a backtrace; nothing in it may reach a log
        return Unusable("the certificate is unreadable")
    return _judge(certificate, groups, address, now)


def encryption_ends(certificate: Cert) -> list[datetime | None]:
    """When each key of the certificate that encrypts and is not revoked expires, None where it does not.

    Subkeys stand for the primary key where there are any, as in `read_certificate`.
    """
    primary, *subkeys = _key_groups(certificate)
    encrypting = [group for group in subkeys if _encrypts(group) and not _is_revoked(group)]
    return [_end(group) for group in encrypting or [primary] if _encrypts(group)]


def generate_test_key(address: str, name: str) -> tuple[str, str]:
    """A new armoured (certificate, secret key) for a demo's recipient, who would otherwise bring their own."""
    return generate_demo_key(address, name, time.time())


def _judge(certificate: Cert, groups: list[list[Packet]], address: str, now: datetime) -> Cert | Unusable:
    if sum(packet.tag == Tag.UserID for packet in groups[0]) > MOST_USER_IDS:
        return Unusable(f"the certificate has more than {MOST_USER_IDS} user IDs")
    if certificate.is_revoked:
        return Unusable("the certificate is revoked")
    if certificate.expiration is not None and certificate.expiration <= now:
        return Unusable("the certificate is expired")
    if canonical_address(address) not in {_address(str(user_id)) for user_id in certificate.user_ids}:
        return Unusable("the recipient's address is not in the certificate")
    return _with_usable_keys(groups, now)


def _with_usable_keys(groups: list[list[Packet]], now: datetime) -> Cert | Unusable:
    """The certificate with only those subkeys that are alive and that PySequoia can encrypt to."""
    primary, *subkeys = groups
    encrypting = [group for group in subkeys if _encrypts(group)]
    alive = [group for group in encrypting if not _is_revoked(group) and not _is_expired(group, now)]
    if len(alive) > MOST_KEYS:
        return Unusable(f"the certificate has more than {MOST_KEYS} encryption keys")
    supported = [group for group in alive if _is_supported([primary, group])]
    if supported or (not alive and _encrypts(primary) and _is_supported([primary])):
        return _joined([primary, *supported])
    if alive or _encrypts(primary):
        return Unusable("the certificate's encryption key is of an unsupported kind")
    if any(map(_is_revoked, encrypting)):
        return Unusable("the certificate's encryption key is revoked")
    return Unusable("the certificate's encryption key is expired" if encrypting else "the certificate cannot encrypt")


def _is_supported(groups: list[list[Packet]]) -> bool:
    try:
        encrypt(b"", recipients=[_joined(groups)])
    except Exception:  # RuntimeError with the key's fingerprint in it
        return False
    return True


def _joined(groups: list[list[Packet]]) -> Cert:
    return Cert.from_packets([packet for group in groups for packet in group])


def _key_groups(certificate: Cert) -> Iterator[list[Packet]]:
    """The primary key with all that belongs to it, then each subkey with its signatures."""
    group: list[Packet] = []
    for packet in PacketPile.from_bytes(bytes(certificate)):
        if packet.tag in _KEYS and group:
            yield group
            group = []
        group.append(packet)
    yield group


def _binding(group: list[Packet]) -> Packet | None:
    """The newest signature that says what the key is for."""
    signatures = [packet for packet in group if packet.signature_created is not None and packet.key_flags is not None]
    return max(signatures, key=lambda packet: packet.signature_created or _EPOCH, default=None)


def _encrypts(group: list[Packet]) -> bool:
    binding = _binding(group)
    flags = binding.key_flags if binding else None
    return flags is not None and (flags.transport_encryption or flags.storage_encryption)


def _is_revoked(group: list[Packet]) -> bool:
    return any(packet.signature_type == SignatureType.SubkeyRevocation for packet in group)


def _is_expired(group: list[Packet], now: datetime) -> bool:
    end = _end(group)
    return end is not None and end <= now


def _end(group: list[Packet]) -> datetime | None:
    created, binding = group[0].key_created, _binding(group)
    period = binding.key_validity_period if binding else None
    return None if created is None or period is None else created + period


def _address(user_id: str) -> str:
    match = _USER_ID_ADDRESS.search(user_id)
    return canonical_address(match[1] if match else user_id)
