"""Where a certificate came from, and which may take the place of which.

What an owner or operator brought counts most, then what the domain of the address publishes (WKD), then what a mail
said (Autocrypt). The source is written into the certificate's own armour, as its first header (RFC 9580 section 6.2.2),
so the store needs no column for it. A certificate without that mark was brought. An owner who writes the mark into a
certificate only weakens what they bring themselves.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pysequoia import ArmorKind, Cert, armor

from serving.encryption.bundle import Block
from serving.encryption.certificates import Unusable, read_certificate

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
_MARK = re.compile(
    rb"\A-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\nComment: Clarion has this by (wkd|autocrypt), (\d{1,12})\r?\n"
)


class Source(StrEnum):
    """Who says that the certificate is the recipient's."""

    UPLOADED = "uploaded"
    WKD = "wkd"
    AUTOCRYPT = "autocrypt"


@dataclass(frozen=True, slots=True)
class Origin:
    """The source, and since when the certificate is known by it; None for one that was brought."""

    source: Source
    since: datetime | None = None


def origin_of(block: Block) -> Origin:
    """Where the certificate came from."""
    mark = _MARK.match(block.octets) if block.method == "openpgp" else None
    if mark is None:
        return Origin(Source.UPLOADED)
    return Origin(Source(mark[1].decode()), datetime.fromtimestamp(int(mark[2]), UTC))


def found(certificate: Cert, source: Source, now: datetime) -> Block:
    """The certificate as it is kept, marked with a source that is not `UPLOADED`."""
    mark = f"Comment: Clarion has this by {source}, {int(now.timestamp())}\n"
    text = _BEGIN + mark + armor(bytes(certificate), ArmorKind.PublicKey).removeprefix(_BEGIN)
    return Block("openpgp", text.strip().encode())


def with_fetched(
    held: Sequence[Block], fetched: Cert, address: str, now: datetime, *, replace: bool = False
) -> list[Block] | Unusable:
    """What is kept once WKD had a usable OpenPGP certificate, or why it is not taken.

    It takes the place of what WKD and Autocrypt said before. Beside a certificate that was brought and can be used it
    is not taken unless `replace`, which drops what was brought. What is known of the same certificate already, a
    revocation above all, stays known. S/MIME is not touched.
    """
    openpgp = [block for block in held if block.method == "openpgp"]
    brought = [block for block in openpgp if origin_of(block).source is Source.UPLOADED]
    if not replace and any(not isinstance(block.read(address, now), Unusable) for block in brought):
        return Unusable("an OpenPGP certificate that was brought can be used and stays; --replace drops it")
    merged = merge(openpgp, fetched, address, now)
    if isinstance(merged, Unusable):
        return merged
    kept = [] if replace else [block for block in brought if not _is_same(block, fetched)]
    return [found(merged, Source.WKD, now), *kept, *(block for block in held if block.method != "openpgp")]


def merge(held: Sequence[Block], certificate: Cert, address: str, now: datetime) -> Cert | Unusable:
    """The certificate with what is held of the same one, reduced as `read_certificate` does, or why it is of no use."""
    merged = certificate
    for block in held:
        if _is_same(block, certificate):
            merged = merged.merge(Cert.from_bytes(block.octets))
    return read_certificate(bytes(merged), address, now)


def _is_same(block: Block, certificate: Cert) -> bool:
    """Whether both have one fingerprint."""
    try:
        return bool(Cert.from_bytes(block.octets).fingerprint == certificate.fingerprint)
    except Exception:  # PySequoia raises RuntimeError with a backtrace
        return False
