"""When a certificate stops being usable, so that its owner and the operator hear of it before mail is held."""

from datetime import datetime

from cryptography import x509
from pysequoia import Cert

from serving.encryption.certificates import encryption_ends

Certificate = Cert | x509.Certificate


def usable_until(certificate: Certificate) -> datetime | None:
    """The moment from which on nothing can be sealed to a certificate that is usable now; None where it has none.

    Of OpenPGP that is the end of the last encryption key, or of the whole certificate where that comes first; of X.509
    the end of its validity (RFC 5280 section 4.1.2.5), which is never None.

    Raises:
        ValueError: an OpenPGP certificate without an encryption key; `read_certificate` returns none such.
    """
    if isinstance(certificate, x509.Certificate):
        return certificate.not_valid_after_utc
    ends = encryption_ends(certificate)
    if not ends:
        raise ValueError("the certificate cannot encrypt")
    bounds = [_latest(ends), certificate.expiration]
    return min((bound for bound in bounds if bound is not None), default=None)


def _latest(ends: list[datetime | None]) -> datetime | None:
    """None, which is never, is later than all."""
    dated = [end for end in ends if end is not None]
    return max(dated) if len(dated) == len(ends) else None
