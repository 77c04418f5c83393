"""A process that opens one OpenPGP message under limits, since PySequoia sets none and cannot be interrupted.

What is encrypted to a certificate can be anything, by anybody: a few KiB that decompress to many GiB, or signatures
nested so deep that hashing them takes an hour. `opening` starts this process and reads what it lets out. Measured with
PySequoia 0.1.35: `decrypt` with a store returns nothing unless the integrity protection holds and a certificate of the
store signed; it refuses packets without integrity protection (tag 9); it takes a message that is signed but not
encrypted for decrypted; it refuses every signature below a compression; it tries each session key packet, to whomever
it is, and gives up at an RSA one to another. So the outer form is judged here.
"""

import resource
import sys
from collections.abc import Iterator

from pysequoia import Cert, Tsk, decrypt
from pysequoia.packet import Packet, PacketPile, Tag

MEMORY = 512 << 20
SECONDS = 5

_LENGTH = 4
_SECRETS = (Tag.SecretKey, Tag.SecretSubkey)


def frame(*fields: bytes) -> bytes:
    """The fields as they go to the process, each behind its length."""
    return b"".join(len(field).to_bytes(_LENGTH, "big") + field for field in fields)


def opened(message: bytes, key: bytes, signer: bytes) -> bytes:
    """The content of an encrypted message that the signer's certificate signed; any exception where it is not that."""
    recipient, trusted = Tsk.from_bytes(key), Cert.from_bytes(signer)
    decrypted = decrypt(_to_one_key(message, key), recipient.decryptor(), lambda _: [trusted])
    if decrypted.bytes is None or trusted.fingerprint not in [each.certificate for each in decrypted.valid_sigs]:
        raise ValueError("not signed by the one who is trusted")
    return decrypted.bytes


def _to_one_key(message: bytes, key: bytes) -> bytes:
    """The message with one session key packet, the one to this key; ValueError where it is of another form."""
    *session_keys, container = PacketPile.from_bytes(message)
    if container.tag != Tag.SEIP or any(packet.tag != Tag.PKESK for packet in session_keys):
        raise ValueError("not encrypted with integrity protection alone")
    names = [name for packet in PacketPile.from_bytes(key) if packet.tag in _SECRETS for name in _names(packet)]
    (ours,) = (packet for packet in session_keys if _recipient(packet.body) in names)
    return bytes(ours) + bytes(container)


def _recipient(session_key: bytes) -> bytes:
    """Whom a session key packet is for: a key id (version 3), or a fingerprint behind its version (version 6)."""
    return session_key[2 : 2 + session_key[1]] if session_key[0] == 6 else session_key[1:9]


def _names(key: Packet) -> Iterator[bytes]:
    """How a session key packet may name the key (RFC 9580 section 5.1)."""
    yield bytes.fromhex(key.key_id or "")
    yield key.body[:1] + bytes.fromhex(key.fingerprint or "")


def _fields(octets: bytes) -> Iterator[bytes]:
    while octets:
        end = _LENGTH + int.from_bytes(octets[:_LENGTH], "big")
        yield octets[_LENGTH:end]
        octets = octets[end:]


def _main() -> None:
    """Read message, key and signer from standard input; write the content, or end with another status than 0."""
    for limit, value in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    message, key, signer = _fields(sys.stdin.buffer.read())
    sys.stdout.buffer.write(opened(message, key, signer))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
