"""S/MIME (RFC 8551) with the header protected (RFC 9788): signed by the gateway, then enveloped to the recipient.

The payload is the same as in PGP/MIME. It stands whole inside a SignedData, never beside a detached signature, so that
nothing is left for a reader to canonicalise or to render before it was verified.

EFAIL. `cryptography` 50 envelopes with RSA (PKCS #1 v1.5) and AES-CBC alone, without AuthEnvelopedData (RFC 5083). CBC
authenticates nothing: who holds a sealed mail can flip, swap and insert blocks, and who knows the recipient's
certificate can envelope anything. So a decryptor has to let nothing out, not even an error that tells padding from
signature, before it has found exactly one signature, by the gateway's certificate, over all that it lets out. Ours does
so. We cannot promise it for others: a mail program that renders, indexes or previews what it only decrypted can be made
to leak a mail that somebody recorded. Who fears that uses OpenPGP, whose sealed form shows every change.
"""

import base64
import binascii
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ObjectIdentifier

from serving.acknowledging import Note
from serving.encryption.outside import Outside, write
from serving.encryption.sealed import HIDDEN_SUBJECT, payload
from serving.encryption.smime_signing import DATA, Signer, sign, verify
from serving.errors import Unsealable
from serving.mail import split

_LINE = 76  # characters


def enclose(
    raw: bytes, outside: Outside, certificate: x509.Certificate, signer: Signer, note: Note | None = None
) -> bytes:
    """The mail signed and sealed to the certificate, CRLF and ASCII (but for a UTF-8 address)."""
    outer = (*outside.header, ("Subject", HIDDEN_SUBJECT))
    signed = SIGNED_HEAD + _to_base64(sign(payload(raw, outer, note), signer))
    return write(outer) + _ENVELOPED_HEAD + _to_base64(envelop(signed, certificate))


def open_sealed(
    octets: bytes, key: rsa.RSAPrivateKey, certificate: x509.Certificate, trusted_signer: x509.Certificate
) -> bytes:
    """The payload of a sealed mail, octet for octet as `trusted_signer` signed it.

    All that is not under the signature has to be just as we and OpenSSL write it, so that no change goes unseen: DER
    and not BER, the content inside the SignedData. Two things to know: the time taken still tells where it failed, so
    strangers must not be answered with the outcome; and a signature does not say for whom. Who may read a sealed mail
    can seal it, still signed, to another; the `HP-Outer: To` inside says who it was for.

    Raises:
        Unsealable: it does not open; why is not said, lest an attacker ask until they know the plaintext.
    """
    try:
        return _opened(octets, key, certificate, trusted_signer)
    except Exception:  # whatever it is, it looks the same
        raise Unsealable("the S/MIME mail does not open: another's key or signature, or altered") from None


def envelop(octets: bytes, certificate: x509.Certificate) -> bytes:
    """An EnvelopedData (RFC 5652 section 6) for the certificate's key, as DER."""
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(octets).add_recipient(certificate)
    builder = builder.set_content_encryption_algorithm(AES256)
    return builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _opened(
    octets: bytes, key: rsa.RSAPrivateKey, certificate: x509.Certificate, trusted_signer: x509.Certificate
) -> bytes:
    mail = split(octets)
    envelope = _from_base64(mail.body if mail else b"")
    inner = pkcs7.pkcs7_decrypt_der(envelope, certificate, key, [])
    if not _is_as_written(envelope) or not inner.startswith(SIGNED_HEAD):
        raise ValueError("not the form that is written here")
    return verify(_from_base64(inner[len(SIGNED_HEAD) :]), trusted_signer)


@asn1.sequence
class Recipient:
    """KeyTransRecipientInfo."""

    version: int
    identifier: asn1.TLV
    algorithm: asn1.TLV
    key: bytes


@asn1.sequence
class EncryptedContent:
    """EncryptedContentInfo."""

    type: ObjectIdentifier
    algorithm: asn1.TLV
    content: Annotated[bytes, asn1.Implicit(0)]


@asn1.sequence
class EnvelopedData:
    """RFC 5652 section 6.1, version 0."""

    version: int
    recipients: asn1.SetOf[Recipient]
    content: EncryptedContent


@asn1.sequence
class EnvelopedMessage:
    """ContentInfo around EnvelopedData."""

    type: ObjectIdentifier
    content: Annotated[EnvelopedData, asn1.Explicit(0)]


def _is_as_written(envelope: bytes) -> bool:
    """Whether the fields that the library does not look at are the only ones they can be."""
    data = asn1.decode_der(EnvelopedMessage, envelope).content
    versions = {data.version, *(recipient.version for recipient in data.recipients.as_list())}
    return versions == {0} and data.content.type == DATA


def _to_base64(octets: bytes) -> bytes:
    """Lines of at most 76 characters, each ended with CRLF."""
    text = binascii.b2a_base64(octets, newline=False)
    return b"".join([text[start : start + _LINE] + b"\r\n" for start in range(0, len(text), _LINE)])


def _from_base64(text: bytes) -> bytes:
    """Raises ValueError at anything that is neither base64 nor a line end."""
    return base64.b64decode(text.replace(b"\r", b"").replace(b"\n", b""), validate=True)


SIGNED_HEAD = b"""\
MIME-Version: 1.0
Content-Disposition: attachment; filename="smime.p7m"
Content-Type: application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"
Content-Transfer-Encoding: base64

""".replace(b"\n", b"\r\n")
"""Word for word as OpenSSL writes it: no signature covers it, so any other is refused when a mail is opened."""

_ENVELOPED_HEAD = SIGNED_HEAD.replace(b"signed-data", b"enveloped-data")
