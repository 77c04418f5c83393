"""The gateway's S/MIME key is made once and kept, and of all signatures only its own counts."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from serving.encryption.smime_signing import (
    DATA,
    SIGNED_DATA,
    Algorithm,
    Attribute,
    Content,
    SignedMessage,
    Signer,
    create_smime_signing_key,
    load_smime_signing_key,
    sign,
    verify,
)
from serving.errors import ConfigurationError
from tests.unit.test_smime_certificates import ANN, KEY, issue, rsa_key

NOW = datetime(2026, 11, 2, tzinfo=UTC)
GATEWAY = "clarion@gate.example"


@cache
def gateway() -> Signer:
    """The gateway's key, made as a gateway makes it."""
    with TemporaryDirectory() as folder:
        create_smime_signing_key(Path(folder), GATEWAY, NOW)
        signer = load_smime_signing_key(Path(folder))
    assert signer is not None
    return signer


def test_the_private_key_is_the_owners_alone_and_the_certificate_is_for_everybody(tmp_path: Path) -> None:
    """Who holds the key can write in the gateway's name."""
    create_smime_signing_key(tmp_path, GATEWAY, NOW)
    published = (tmp_path / "smime.public").read_bytes()
    signer = load_smime_signing_key(tmp_path)

    assert (tmp_path / "smime.private").stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in published
    assert signer is not None
    assert signer.certificate.public_bytes(Encoding.PEM) == published
    assert verify(sign(b"content", signer), signer.certificate) == b"content"


def test_the_certificate_says_who_signs_and_for_what() -> None:
    """Mail programs compare its address with From, and warn where they differ."""
    certificate = gateway().certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert names.get_values_for_type(x509.RFC822Name) == [GATEWAY]
    assert usage.digital_signature
    assert not usage.key_encipherment
    assert list(purposes) == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    assert certificate.not_valid_before_utc <= NOW - timedelta(hours=1)
    assert certificate.not_valid_after_utc >= NOW + timedelta(days=3650)


def test_a_signing_key_is_never_overwritten(tmp_path: Path) -> None:
    """Recipients have stored its certificate; a new one would look like an impostor."""
    create_smime_signing_key(tmp_path, GATEWAY, NOW)
    before = (tmp_path / "smime.private").read_bytes()

    with pytest.raises(ConfigurationError, match="nothing was overwritten"):
        create_smime_signing_key(tmp_path, GATEWAY, NOW)
    assert (tmp_path / "smime.private").read_bytes() == before


def test_an_address_that_no_certificate_takes_is_told_before_anything_is_written(tmp_path: Path) -> None:
    """The operator has to choose another, and a half-made key would be in the way."""
    with pytest.raises(ConfigurationError, match="CLARION_MAIL_FROM"):
        create_smime_signing_key(tmp_path, "glöckchen@gate.example", NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_domain_beyond_ascii_is_written_as_certificates_write_it(tmp_path: Path) -> None:
    """A gateway may well live under such a domain."""
    create_smime_signing_key(tmp_path, "clarion@bücher.example", NOW)

    assert b"xn--" in x509.load_pem_x509_certificate((tmp_path / "smime.public").read_bytes()).public_bytes(
        Encoding.DER
    )


def test_without_a_key_there_is_no_signer_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    """No key is a choice; a damaged one is not the same as none."""
    assert load_smime_signing_key(tmp_path) is None

    for content in (b"nonsense", _half(), issue(ANN).public_bytes(Encoding.PEM)):
        (tmp_path / "smime.private").write_bytes(content)
        with pytest.raises(ConfigurationError, match="damaged"):
            load_smime_signing_key(tmp_path)


def test_the_signers_name_in_a_log_line_is_not_its_key() -> None:
    """A dataclass shows its fields wherever it is printed."""
    assert "RSAPrivateKey" not in repr(gateway())


def test_only_the_expected_signer_is_believed() -> None:
    """Anybody can sign and put their own certificate beside the signature."""
    with pytest.raises(InvalidSignature):
        verify(sign(b"content", Signer(issue(ANN), KEY)), gateway().certificate)


def test_content_that_was_exchanged_is_refused() -> None:
    """The signature is over a digest; the digest has to be the content's."""
    message = _message(sign(b"content", gateway()))
    message.content.content.content = b"another"

    with pytest.raises(InvalidSignature):
        verify(asn1.encode_der(message), gateway().certificate)


def test_a_message_without_a_signature_or_with_two_is_refused() -> None:
    """The form that carries certificates alone has no signer; of two, one would be somebody else's."""
    both = pkcs7.PKCS7SignatureBuilder().set_data(b"content")
    for signer in (gateway(), Signer(issue(ANN), KEY)):
        both = both.add_signer(signer.certificate, signer.key, hashes.SHA256())
    none = _message(sign(b"content", gateway()))
    none.content.signers = asn1.SetOf([])

    for octets in (asn1.encode_der(none), both.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])):
        with pytest.raises(ValueError, match="unpack"):
            verify(octets, gateway().certificate)


def test_signed_attributes_cannot_be_passed_off_as_content() -> None:
    """RFC 5652 lets attributes be left out; the signature over them then verifies over a content that nobody wrote."""
    message = _message(sign(b"content", gateway()))
    (signer,) = message.content.signers.as_list()
    attributes = asn1.encode_der(signer.attributes)
    gateway().key.public_key().verify(signer.signature, attributes, padding.PKCS1v15(), hashes.SHA256())
    bare = BareSignerInfo(
        version=1,
        identifier=signer.identifier,
        digest_algorithm=signer.digest_algorithm,
        algorithm=signer.algorithm,
        signature=signer.signature,
    )
    forged = BareMessage(
        type=SIGNED_DATA,
        content=BareSignedData(
            version=1,
            digest_algorithms=message.content.digest_algorithms,
            content=Content(type=DATA, content=attributes),
            signers=asn1.SetOf([bare]),
        ),
    )

    with pytest.raises(ValueError, match="asn1"):
        verify(asn1.encode_der(forged), gateway().certificate)


def test_what_is_signed_as_something_else_than_data_is_refused() -> None:
    """A signature that the gateway makes for another purpose must not become a mail."""
    other = ObjectIdentifier("1.2.840.113549.1.9.16.1.4")
    relabelled = _message(sign(b"content", gateway()))
    relabelled.content.content.type = other
    wrapped = _message(sign(b"content", gateway()))
    wrapped.type = other
    for message in (relabelled, wrapped):
        with pytest.raises(InvalidSignature):
            verify(asn1.encode_der(message), gateway().certificate)


@pytest.mark.parametrize("digest", ["1.3.14.3.2.26", "1.2.840.113549.2.5"])
def test_digests_that_can_be_forged_are_refused(digest: str) -> None:
    """SHA-1 and MD5 let two contents share a signature."""
    message = _message(sign(b"content", gateway()))
    (signer,) = message.content.signers.as_list()
    signer.digest_algorithm = Algorithm(algorithm=ObjectIdentifier(digest), parameters=None)
    message.content.signers = asn1.SetOf([signer])

    with pytest.raises(InvalidSignature):
        verify(asn1.encode_der(message), gateway().certificate)


@pytest.mark.parametrize("states", [0, 2])
def test_a_digest_that_is_not_stated_exactly_once_is_refused(states: int) -> None:
    """Two of them would let each reader choose its own content; even the gateway's key must not sign such."""
    message = _message(sign(b"content", gateway()))
    (signer,) = message.content.signers.as_list()
    attributes = signer.attributes.as_list()
    digest = next(each for each in attributes if each.type.dotted_string.endswith(".9.4"))
    others = [each for each in attributes if each is not digest]
    signer.attributes = asn1.SetOf[Attribute]([*others, *[digest] * states])
    signed = asn1.encode_der(signer.attributes)
    signer.signature = gateway().key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    message.content.signers = asn1.SetOf([signer])

    with pytest.raises(ValueError, match="unpack"):
        verify(asn1.encode_der(message), gateway().certificate)


@asn1.sequence
class BareSignerInfo:
    """One without signed attributes."""

    version: int
    identifier: asn1.TLV
    digest_algorithm: Algorithm
    algorithm: asn1.TLV
    signature: bytes


@asn1.sequence
class BareSignedData:
    """SignedData with such signers."""

    version: int
    digest_algorithms: asn1.TLV
    content: Content
    signers: asn1.SetOf[BareSignerInfo]


@asn1.sequence
class BareMessage:
    """ContentInfo around it."""

    type: ObjectIdentifier
    content: Annotated[BareSignedData, asn1.Explicit(0)]


def _message(signed: bytes) -> SignedMessage:
    return asn1.decode_der(SignedMessage, signed)


def _half() -> bytes:
    """A key, and the certificate of another."""
    private = rsa_key(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + issue(ANN).public_bytes(Encoding.PEM)
