"""Which X.509 certificates mail can be sealed to, and what is wrong with the others."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.encryption.certificates import Unusable
from serving.encryption.smime_certificates import read_smime_certificate

NOW = datetime(2026, 11, 2, tzinfo=UTC)
ADDRESS = "ann@home.example"
_EXPONENT = b"\x02\x03\x01\x00\x01"  # 65537 in DER
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Spec:
    """A certificate to issue; what is None is left out of it."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    names: tuple[x509.GeneralName, ...] = (x509.RFC822Name(ADDRESS),)
    subject_address: str | None = None
    since: timedelta = timedelta(days=-1)
    until: timedelta = timedelta(days=365)
    usages: tuple[str, ...] | None = ("digital_signature", "key_encipherment")
    purposes: tuple[ObjectIdentifier, ...] | None = (ExtendedKeyUsageOID.EMAIL_PROTECTION,)
    is_authority: bool | None = False
    critical: ObjectIdentifier | None = None


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same key whenever it is asked for: making one takes long."""
    return rsa.generate_private_key(65_537, bits)


def issue(spec: Spec) -> x509.Certificate:
    """Self-signed."""
    name = [x509.NameAttribute(NameOID.COMMON_NAME, "Ann Ünicode")]
    if spec.subject_address is not None:
        name.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, spec.subject_address))
    builder = x509.CertificateBuilder(x509.Name(name), x509.Name(name), spec.key.public_key(), 7)
    builder = builder.not_valid_before(NOW + spec.since).not_valid_after(NOW + spec.until)
    for extension, is_critical in _extensions(spec):
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(spec.key, hashes.SHA256())


def _extensions(spec: Spec) -> Iterable[tuple[x509.ExtensionType, bool]]:
    if spec.names:
        yield x509.SubjectAlternativeName(spec.names), False
    if spec.usages is not None:
        yield x509.KeyUsage(**{usage: usage in spec.usages for usage in _USAGES}), True
    if spec.purposes is not None:
        yield x509.ExtendedKeyUsage(spec.purposes), False
    if spec.is_authority is not None:
        yield x509.BasicConstraints(ca=spec.is_authority, path_length=None), True
    if spec.critical is not None:
        yield x509.UnrecognizedExtension(spec.critical, b"\x05\x00"), True


def _der(spec: Spec) -> bytes:
    return issue(spec).public_bytes(Encoding.DER)


def _pem(spec: Spec) -> bytes:
    return issue(spec).public_bytes(Encoding.PEM)


def _reason(octets: bytes) -> str:
    judged = read_smime_certificate(octets, ADDRESS, NOW)
    return judged.reason if isinstance(judged, Unusable) else "usable"


KEY = rsa_key()
ANN = Spec(KEY)
NOT_USABLE: dict[str, tuple[Spec, str]] = {
    "expired": (Spec(KEY, since=timedelta(days=-9), until=timedelta()), "the certificate is expired"),
    "from tomorrow": (Spec(KEY, since=timedelta(days=1)), "the certificate is not valid yet"),
    "another's": (
        Spec(KEY, (x509.RFC822Name("eve@home.example"),)),
        "the recipient's address is not in the certificate",
    ),
    "nobody's": (Spec(KEY, ()), "the recipient's address is not in the certificate"),
    "a name that looks like the address": (
        Spec(KEY, (x509.DNSName(ADDRESS),)),
        "the recipient's address is not in the certificate",
    ),
    "signing only": (Spec(KEY, usages=("digital_signature",)), "the certificate cannot encrypt"),
    "an authority": (
        Spec(KEY, usages=("key_cert_sign", "crl_sign"), is_authority=True),
        "the certificate is an authority's, not a person's",
    ),
    "a web server": (Spec(KEY, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)), "the certificate is not for mail"),
    "a critical unknown": (
        Spec(KEY, critical=ObjectIdentifier("1.3.6.1.4.1.99999.1")),
        "the certificate has a critical extension that is not understood",
    ),
    "RSA 1024": (Spec(rsa_key(1024)), "the certificate's encryption key is weaker than RSA with 2048 bits"),
    "a curve": (
        Spec(ec.generate_private_key(ec.SECP256R1()), usages=("key_agreement",)),
        "the certificate's encryption key is of an unsupported kind",
    ),
}


@pytest.mark.parametrize("name", NOT_USABLE)
def test_certificates_that_cannot_be_sealed_to_are_told_apart(name: str) -> None:
    """Whoever must bring a new certificate has to know what is wrong with the old one."""
    spec, reason = NOT_USABLE[name]

    assert _reason(_pem(spec)) == reason
    assert _reason(_der(spec)) == reason


@pytest.mark.parametrize("octets", [b"", b"none", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_unreadable(octets: bytes) -> None:
    """People upload the wrong file."""
    assert _reason(octets) == "the certificate is unreadable"


def test_four_megabytes_are_refused_unread() -> None:
    """Parsing is work that a stranger must not be able to order."""
    assert _reason(_pem(ANN) * 4000) == "the certificate is larger than 1 MiB"


def test_a_private_key_is_not_taken() -> None:
    """Who uploads one has given it away and should hear so, not have it kept here."""
    private = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    assert _reason(_pem(ANN) + private) == "the certificate comes with a private key; bring it alone"


@pytest.mark.parametrize(
    "spec",
    [
        ANN,
        Spec(KEY, (), subject_address="Ann@HOME.example"),
        Spec(KEY, usages=None, purposes=None, is_authority=None),
        Spec(KEY, purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
        Spec(KEY, usages=("key_encipherment", "key_cert_sign"), is_authority=True),
        Spec(KEY, usages=None, is_authority=True),
    ],
)
def test_what_can_be_sealed_to_is_usable_however_it_says_so(spec: Spec) -> None:
    """Old, home-made and terse certificates hold a key all the same."""
    assert _reason(_pem(spec)) == "usable"
    assert _reason(_der(spec)) == "usable"


@pytest.mark.parametrize("address", ["ann@home.example", "ANN@Home.Example", "ann@home.example."])
def test_a_certificate_is_found_under_every_spelling_of_the_address(address: str) -> None:
    """Case in an address must not park a mail."""
    assert isinstance(read_smime_certificate(_der(ANN), address, NOW), x509.Certificate)


def test_an_address_beyond_ascii_is_found() -> None:
    """RFC 8398 puts it into a name of another kind."""
    name = x509.OtherName(ObjectIdentifier("1.3.6.1.5.5.7.8.9"), asn1.encode_der("jürgen@bücher.example"))
    judged = read_smime_certificate(_der(Spec(KEY, (name,))), "jürgen@xn--bcher-kva.example", NOW)

    assert isinstance(judged, x509.Certificate)


def test_of_a_chain_the_persons_certificate_is_taken() -> None:
    """Programs export the authorities along with it, in any order."""
    authority = Spec(KEY, usages=("key_cert_sign",), is_authority=True)
    judged = read_smime_certificate(_pem(authority) + _pem(ANN), ADDRESS, NOW)

    assert judged == issue(ANN)


@pytest.mark.parametrize(("exponent", "changed"), [(b"\x02\x03\x01\x00\x00", 0), (b"\x02\x01\x01", 0), (_EXPONENT, 1)])
def test_a_key_that_openssl_will_not_use_is_told_before_a_mail_depends_on_it(exponent: bytes, changed: int) -> None:
    """An exponent of 1 would send the content key in the clear; an even modulus raises, which would lose the mail."""
    octets, number = _der(ANN), KEY.public_key().public_numbers().n
    modulus = (number ^ changed).to_bytes(257) + b"\x01" * (len(_EXPONENT) - len(exponent))
    old = asn1.encode_der(number) + _EXPONENT
    forged = octets.replace(old, b"\x02\x82" + len(modulus).to_bytes(2) + modulus + exponent)

    assert len(forged) == len(octets)
    assert forged != octets
    assert _reason(forged) == "the certificate's encryption key is of an unsupported kind"


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_hostile_certificates_are_judged_and_nothing_worse(octets: bytes) -> None:
    """Anybody can upload anything as a certificate."""
    valid, middle = _der(ANN), 300
    for mangled in (octets, valid[: len(octets)] + octets, octets + valid, valid[:middle] + octets + valid[middle:]):
        assert isinstance(read_smime_certificate(mangled, ADDRESS, NOW), x509.Certificate | Unusable)
