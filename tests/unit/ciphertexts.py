"""OpenPGP messages as an attacker writes them: any packets, encrypted to anybody whose certificate is known."""

import hashlib
import zlib
from itertools import pairwise

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from pysequoia import Cert
from pysequoia.packet import Packet, PacketPile, Tag

SESSION_KEY, COMPRESSED, ENCRYPTED, LITERAL, PROTECTED = 1, 8, 9, 11, 18
PREFIX = bytes(range(16)) + bytes((14, 15))
"""What precedes the packets in front of the cipher (RFC 9580 section 5.13.1), random where it matters."""

_AES256, _ZIP, _MDC = b"\x09", b"\x01", b"\xd3\x14"


def packet(tag: int, body: bytes) -> bytes:
    """A packet with a header of five octets' length (RFC 9580 section 4.2.1)."""
    return bytes((0xC0 | tag, 0xFF)) + len(body).to_bytes(4, "big") + body


def packets(octets: bytes) -> list[bytes]:
    """The packets of a message, armoured or not, each with its header."""
    return [bytes(each) for each in PacketPile.from_bytes(octets)]


def seal(content: bytes, certificate: Cert, session_key: bytes) -> bytes:
    """Packets encrypted with integrity protection of version 1 to a certificate with an RSA key."""
    return session_key_packet(certificate, session_key) + protected(content, session_key)


def protected(content: bytes, session_key: bytes) -> bytes:
    """A packet of tag 18, version 1 (RFC 9580 section 5.13.1)."""
    plain = PREFIX + content + _MDC
    digest = hashlib.sha1(plain, usedforsecurity=False).digest()
    return packet(PROTECTED, b"\x01" + encipher(plain + digest, session_key))


def session_key_packet(certificate: Cert, session_key: bytes) -> bytes:
    """A packet of tag 1, version 3, for the certificate's RSA key (RFC 9580 section 5.1.1)."""
    key = _encryption_key(certificate)
    modulus, exponent = _numbers(key.body[6:])
    framed = _AES256 + session_key + (sum(session_key) % 65_536).to_bytes(2, "big")
    public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    number = int.from_bytes(public.encrypt(framed, padding.PKCS1v15()), "big")
    body = number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")
    return packet(SESSION_KEY, b"\x03" + bytes.fromhex(key.key_id or "") + b"\x01" + body)


def encipher(plain: bytes, session_key: bytes) -> bytes:
    """AES in CFB, as version 1 uses it."""
    encryptor = Cipher(AES256(session_key), CFB(bytes(16))).encryptor()
    return encryptor.update(plain) + encryptor.finalize()


def decipher(body: bytes, session_key: bytes) -> bytes:
    """What a reader sees who trusts the cipher alone."""
    decryptor = Cipher(AES256(session_key), CFB(bytes(16))).decryptor()
    return decryptor.update(body) + decryptor.finalize()


def literal(content: bytes) -> bytes:
    """A packet that holds content as it is."""
    return packet(LITERAL, b"b\x00" + bytes(4) + content)


def compressed(content: bytes) -> bytes:
    """A packet that holds others, compressed."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packet(COMPRESSED, _ZIP + compressor.compress(content) + compressor.flush())


def bomb(mebibytes: int) -> bytes:
    """A compressed packet that becomes a literal one of so many MiB of zeros, below 4096; it takes 1 KiB for each."""
    head = bytes((0xC0 | LITERAL, 0xFF)) + (6 + (mebibytes << 20)).to_bytes(4, "big") + b"b\x00" + bytes(4)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = compressor.compress(head) + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return packet(COMPRESSED, _ZIP + start + block * mebibytes + b"\x03\x00")


def _encryption_key(certificate: Cert) -> Packet:
    """The subkey that stands before the signature that says that it encrypts."""
    pile: list[Packet] = list(PacketPile.from_bytes(bytes(certificate)))
    for key, binding in pairwise(pile):
        if key.tag == Tag.PublicSubkey and binding.key_flags is not None and binding.key_flags.transport_encryption:
            return key
    raise ValueError("the certificate cannot encrypt")


def _numbers(octets: bytes) -> tuple[int, int]:
    """Two multiprecision integers (RFC 9580 section 3.2)."""
    end = 2 + (int.from_bytes(octets[:2], "big") + 7) // 8
    return int.from_bytes(octets[2:end], "big"), int.from_bytes(octets[end + 2 :], "big")
