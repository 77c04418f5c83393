"""The gateway's own S/MIME certificate, which signs what it seals, and the one signature that counts when it is opened.

RSA, because every S/MIME program verifies it, those from before RFC 8551 among them. The certificate is self-signed:
who wants more than "the same gateway as last time" compares its fingerprint once.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs7,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from serving.addresses import canonical_address
from serving.errors import ConfigurationError
from serving.sealing import write_new

SECRET, CERTIFICATE = "smime.private", "smime.public"
KEY_SIZE = 3072
LIFETIME = timedelta(days=3652)
DATA, SIGNED_DATA = ObjectIdentifier("1.2.840.113549.1.7.1"), ObjectIdentifier("1.2.840.113549.1.7.2")

_BEFORE = timedelta(days=1)  # for readers whose clock is behind
_CONTENT_TYPE, _MESSAGE_DIGEST = ObjectIdentifier("1.2.840.113549.1.9.3"), ObjectIdentifier("1.2.840.113549.1.9.4")
_DIGESTS: dict[ObjectIdentifier, hashes.HashAlgorithm] = {
    ObjectIdentifier("2.16.840.1.101.3.4.2.1"): hashes.SHA256(),
    ObjectIdentifier("2.16.840.1.101.3.4.2.2"): hashes.SHA384(),
    ObjectIdentifier("2.16.840.1.101.3.4.2.3"): hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and the certificate that goes with it into each signature."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey = field(repr=False)


def create_smime_signing_key(folder: Path, mail_from: str, now: datetime) -> None:
    """Write a new key for the gateway's address, mode 0600, and its certificate for the recipients, both as PEM.

    Raises:
        ConfigurationError: there is one already (keys are never overwritten), or the address is not ASCII.
    """
    key = rsa.generate_private_key(65_537, KEY_SIZE)
    certificate = _certificate(key, mail_from, now).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        write_new(folder / SECRET, private + certificate)
        write_new(folder / CERTIFICATE, certificate)
    except FileExistsError:
        raise ConfigurationError(f"{folder} holds an S/MIME key already; nothing was overwritten") from None


def load_smime_signing_key(folder: Path) -> Signer | None:
    """The key, None where there is none and so nothing is sealed with S/MIME.

    Raises:
        ConfigurationError: the file is damaged, or its two halves are no pair.
    """
    path = folder / SECRET
    try:
        return _signer(path.read_bytes())
    except FileNotFoundError:
        return None
    except Exception:  # whatever the parser says about a secret file; nothing of it may reach a log
        raise ConfigurationError(f"key file {path} is damaged or not readable; restore it from a backup") from None


def sign(content: bytes, signer: Signer) -> bytes:
    """A SignedData that holds the content, octet for octet (RFC 8551 section 3.5.2), as DER."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(signer.certificate, signer.key, hashes.SHA256())
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCapabilities])


def verify(signed: bytes, certificate: x509.Certificate) -> bytes:
    """The content of a SignedData whose only signature is by the certificate's key; what it carries itself is ignored.

    Signed attributes are demanded: without them a signature over attributes could be passed off as one over content.

    Raises:
        InvalidSignature: another key signed, or the content was altered.
        ValueError: the octets are no such SignedData.
    """
    message = asn1.decode_der(SignedMessage, signed)
    content, (signer,) = message.content.content, message.content.signers.as_list()
    digest, key = _DIGESTS.get(signer.digest_algorithm.algorithm), certificate.public_key()
    if (message.type, content.type) != (SIGNED_DATA, DATA) or digest is None or not isinstance(key, rsa.RSAPublicKey):
        raise InvalidSignature
    key.verify(signer.signature, asn1.encode_der(signer.attributes), padding.PKCS1v15(), digest)
    hashed = hashes.Hash(digest)
    hashed.update(content.content)
    if _attested(signer.attributes.as_list()) != (DATA, hashed.finalize()):
        raise InvalidSignature
    return content.content


@asn1.sequence
class Algorithm:
    """AlgorithmIdentifier, of those that have no parameters."""

    algorithm: ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class Attribute:
    """Of a SignerInfo."""

    type: ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class SignerInfo:
    """RFC 5652 section 5.3, but with signed attributes and without others."""

    version: int
    identifier: asn1.TLV
    digest_algorithm: Algorithm
    attributes: Annotated[asn1.SetOf[Attribute], asn1.Implicit(0)]
    algorithm: asn1.TLV  # whatever it claims, it is verified as RSA (PKCS #1 v1.5) with that digest
    signature: bytes


@asn1.sequence
class Content:
    """EncapsulatedContentInfo."""

    type: ObjectIdentifier
    content: Annotated[bytes, asn1.Explicit(0)]


@asn1.sequence
class SignedData:
    """RFC 5652 section 5.1."""

    version: int
    digest_algorithms: asn1.TLV
    content: Content
    certificates: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(0)]
    signers: asn1.SetOf[SignerInfo]


@asn1.sequence
class SignedMessage:
    """ContentInfo around SignedData."""

    type: ObjectIdentifier
    content: Annotated[SignedData, asn1.Explicit(0)]


def _attested(attributes: list[Attribute]) -> tuple[ObjectIdentifier, bytes]:
    """The content's type and digest, as signed. Raises ValueError where one is not stated exactly once."""
    (content_type,) = [value for each in attributes if each.type == _CONTENT_TYPE for value in each.values.as_list()]
    (digest,) = [value for each in attributes if each.type == _MESSAGE_DIGEST for value in each.values.as_list()]
    return content_type.parse(ObjectIdentifier), digest.parse(bytes)


def _certificate(key: rsa.RSAPrivateKey, mail_from: str, now: datetime) -> x509.Certificate:
    """Self-signed, for signing mail and nothing else (RFC 8550 section 4.4)."""
    address = canonical_address(mail_from)
    if not address.isascii():
        raise ConfigurationError("an S/MIME certificate takes ASCII alone; set CLARION_MAIL_FROM to such an address")
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "Clarion"), x509.NameAttribute(NameOID.EMAIL_ADDRESS, address)]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - _BEFORE).not_valid_after(now + LIFETIME)
    for value, is_critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_ONLY_SIGNS, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
        (x509.SubjectAlternativeName([x509.RFC822Name(address)]), False),
        (identifier, False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),
    ):
        builder = builder.add_extension(value, is_critical)
    return builder.sign(key, hashes.SHA256())


_ONLY_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _signer(octets: bytes) -> Signer:
    """Raises ValueError where the octets hold no pair."""
    key, certificate = load_pem_private_key(octets, None), x509.load_pem_x509_certificate(octets)
    if not isinstance(key, rsa.RSAPrivateKey) or certificate.public_key() != key.public_key():
        raise ValueError("no pair")
    return Signer(certificate, key)
