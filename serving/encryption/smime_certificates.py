"""Whether an X.509 certificate can be sealed to with S/MIME now, and if not, why (RFC 8550, RFC 5280).

Who issued it is not judged and nobody is asked whether it was revoked: the recipient brought it and vouches for it, as
with OpenPGP. `cryptography` envelopes to RSA keys alone, so a key on a curve is told to be unsupported.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier, PublicKeyAlgorithmOID

from serving.addresses import canonical_address
from serving.encryption.certificates import LARGEST_CERTIFICATE, Unusable
from serving.encryption.smime import envelop

SMALLEST_KEY = 2048
"""Of RSA, in bits."""

_FOR_MAIL = frozenset({ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
_UTF8_MAILBOX = ObjectIdentifier("1.3.6.1.5.5.7.8.9")  # RFC 8398: an address with more than ASCII
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def read_smime_certificate(octets: bytes, address: str, now: datetime) -> x509.Certificate | Unusable:
    """The first certificate, of one as DER or several as PEM, that is usable for this address at `now`, or why none."""
    if len(octets) > LARGEST_CERTIFICATE:
        return Unusable("the certificate is larger than 1 MiB")
    if b"PRIVATE KEY-----" in octets:
        return Unusable("the certificate comes with a private key; bring it alone")
    try:
        judged = [_judge(certificate, address, now) for certificate in _parse(octets)]
    except Exception:  # whatever the parser says about hostile octets; nothing of it may reach a log
        return Unusable("the certificate is unreadable")
    return next((each for each in judged if isinstance(each, x509.Certificate)), judged[0])


def _parse(octets: bytes) -> list[x509.Certificate]:
    """One at least. Raises ValueError where there is none."""
    is_text = b"-----BEGIN" in octets
    return x509.load_pem_x509_certificates(octets) if is_text else [x509.load_der_x509_certificate(octets)]


def _judge(certificate: x509.Certificate, address: str, now: datetime) -> x509.Certificate | Unusable:
    reason = next(_reasons(certificate, address, now), None)
    return certificate if reason is None else Unusable(reason)


def _reasons(certificate: x509.Certificate, address: str, now: datetime) -> Iterator[str]:
    """Why nothing can be sealed to the certificate: what its owner should hear first, first."""
    if certificate.not_valid_after_utc <= now:
        yield "the certificate is expired"
    if certificate.not_valid_before_utc > now:
        yield "the certificate is not valid yet"
    if canonical_address(address) not in _addresses(certificate):
        yield "the recipient's address is not in the certificate"
    yield from _reasons_of_key(certificate)
    yield from _reasons_of_use(certificate)


def _reasons_of_key(certificate: x509.Certificate) -> Iterator[str]:
    key = _rsa_key(certificate)
    if key is None:
        yield "the certificate's encryption key is of an unsupported kind"
    elif key.key_size < SMALLEST_KEY:
        yield "the certificate's encryption key is weaker than RSA with 2048 bits"


def _rsa_key(certificate: x509.Certificate) -> rsa.RSAPublicKey | None:
    """The key if it can be sealed to, which is tried: OpenSSL refuses some moduli and exponents only then."""
    if certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5:  # an RSASSA-PSS key only signs
        return None
    try:
        envelop(b"", certificate)
        key = certificate.public_key()
    except Exception:  # an undocumented variety; an encryption that raises would lose the mail instead of holding it
        return None
    return key if isinstance(key, rsa.RSAPublicKey) else None


def _reasons_of_use(certificate: x509.Certificate) -> Iterator[str]:
    """Where it says nothing of its use, it may be used for all (RFC 5280 section 4.2.1.3), as home-made ones do."""
    usage = _extension(certificate, x509.KeyUsage)
    constraints = _extension(certificate, x509.BasicConstraints)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is not None and not usage.key_encipherment:
        is_authority = constraints is not None and constraints.ca
        yield "the certificate is an authority's, not a person's" if is_authority else "the certificate cannot encrypt"
    if purposes is not None and _FOR_MAIL.isdisjoint(purposes):
        yield "the certificate is not for mail"
    if any(each.critical and isinstance(each.value, x509.UnrecognizedExtension) for each in certificate.extensions):
        yield "the certificate has a critical extension that is not understood"


def _addresses(certificate: x509.Certificate) -> set[str]:
    """Of subjectAltName, and of the subject itself, where older certificates have it (RFC 8550 section 3)."""
    names = _extension(certificate, x509.SubjectAlternativeName) or x509.SubjectAlternativeName([])
    others = [name.value for name in names.get_values_for_type(x509.OtherName) if name.type_id == _UTF8_MAILBOX]
    subject = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
    international = [asn1.decode_der(str, octets) for octets in others]
    return {canonical_address(each) for each in (*names.get_values_for_type(x509.RFC822Name), *international, *subject)}


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
