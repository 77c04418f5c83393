"""What a recipient's mail can be sealed to: OpenPGP and X.509 certificates, one after the other in one text (RFC 7468,
RFC 9580 section 6.2)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pysequoia import Cert

from serving.encryption.certificates import LARGEST_CERTIFICATE, Unusable, read_certificate
from serving.encryption.smime_certificates import read_smime_certificate
from serving.values import Method

METHODS: tuple[Method, ...] = ("openpgp", "smime")
"""In the order in which they are tried: OpenPGP's sealed form shows every change, S/MIME's does not (EFAIL)."""

LARGEST_BUNDLE, MOST_CERTIFICATES = 4 << 20, 16

_LABELS: dict[Method, bytes] = {"openpgp": b"PGP PUBLIC KEY BLOCK", "smime": b"CERTIFICATE"}
_BLOCK = re.compile(rb"-----BEGIN (PGP PUBLIC KEY BLOCK|CERTIFICATE)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One certificate as its owner brought it."""

    method: Method
    octets: bytes

    def read(self, address: str, now: datetime) -> Cert | x509.Certificate | Unusable:
        """What can be sealed to, or why nothing can."""
        read = read_certificate if self.method == "openpgp" else read_smime_certificate
        return read(self.octets, address, now)


def blocks(octets: bytes) -> list[Block]:
    """The certificates of a bundle, or of what an owner brings: text, or one X.509 certificate as DER.

    Empty where there is none, and where it is larger than `LARGEST_BUNDLE` octets.
    """
    if len(octets) > LARGEST_BUNDLE:
        return []
    methods = {label: method for method, label in _LABELS.items()}
    found = [Block(methods[match[1]], match[0]) for match in _BLOCK.finditer(octets)]
    return (found or list(_binary(octets)))[:MOST_CERTIFICATES]


def bundle(certificates: Sequence[Block]) -> str:
    """The text that is kept, each certificate once."""
    return "\n".join(dict.fromkeys(each.octets.decode("ascii", "replace") for each in certificates)) + "\n"


def choose(
    octets: bytes, address: str, now: datetime, methods: Sequence[Method] = METHODS
) -> Cert | x509.Certificate | Unusable:
    """The first certificate that can be sealed to at `now`, method by method; else why the first of all cannot."""
    held, reason = blocks(octets), None
    for block in (block for method in methods for block in held if block.method == method):
        certificate = block.read(address, now)
        if not isinstance(certificate, Unusable):
            return certificate
        reason = reason or certificate
    return reason or Unusable("the certificate is unreadable")


def _binary(octets: bytes) -> Iterator[Block]:
    """A certificate that is no text, in the form of one that is."""
    if len(octets) > LARGEST_CERTIFICATE:
        return
    with suppress(ValueError):
        yield Block("smime", x509.load_der_x509_certificate(octets).public_bytes(Encoding.PEM).strip())
    with suppress(Exception):  # PySequoia raises RuntimeError with a backtrace
        yield Block("openpgp", str(Cert.from_bytes(octets)).strip().encode())
