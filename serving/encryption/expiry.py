"""When a certificate stops being usable, so that its owner and the operator hear of it before mail is held."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from pysequoia import Cert

from serving.encryption.certificates import encryption_ends

Certificate = Cert | x509.Certificate
AHEAD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Ending:
    """A certificate that nothing can be sealed to from `until` on."""

    certificate: Certificate
    until: datetime


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


def expiring(certificates: Iterable[Certificate], now: datetime, within: timedelta = AHEAD) -> list[Ending]:
    """Those of the certificates that stop being usable by `now + within`, or did already; the first to end first."""
    dated = [(certificate, usable_until(certificate)) for certificate in certificates]
    ending = [Ending(certificate, until) for certificate, until in dated if until is not None and until <= now + within]
    return sorted(ending, key=lambda each: each.until)


def _latest(ends: list[datetime | None]) -> datetime | None:
    """None, which is never, is later than all."""
    dated = [end for end in ends if end is not None]
    return max(dated) if len(dated) == len(ends) else None
