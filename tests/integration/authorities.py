"""Certificates for servers of the tests: of an authority of their own, of nobody, outdated, of another name."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAY = timedelta(days=1)


class Authority:
    """Certificates in files of one folder; `file` is the authority's own, for those who are to trust it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Authority of the tests")])
        self.file = folder / "authority.pem"
        own = self._builder(self._name, self._key, -_DAY, _DAY).issuer_name(self._name)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def good(self, *names: str) -> Path:
        """A key and its certificate for these names."""
        return self._issued("good", names, -_DAY, _DAY)

    def expired(self, *names: str) -> Path:
        """The same, until an hour ago."""
        return self._issued("expired", names, -2 * _DAY, timedelta(hours=-1))

    def of_nobody(self, *names: str) -> Path:
        """The same, signed by itself."""
        return self._issued("nobody", names, -_DAY, _DAY, is_signed=False)

    def _issued(
        self, kind: str, names: Sequence[str], begin: timedelta, end: timedelta, *, is_signed: bool = True
    ) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        builder = self._builder(subject, key, begin, end).issuer_name(self._name if is_signed else subject)
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
        certificate = builder.sign(self._key if is_signed else key, hashes.SHA256())
        path = self._folder / f"{kind}-{names[0]}.pem"
        encoding = serialization.Encoding.PEM
        private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(private + certificate.public_bytes(encoding))
        return path

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begin: timedelta, end: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now + begin).not_valid_after(now + end)


def serving(pem: Path) -> ssl.SSLContext:
    """A server's context over a key and its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
