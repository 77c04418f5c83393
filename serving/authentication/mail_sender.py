"""Whose the From is that a mail shows. A mail's words are never read.

Only the header block up to the first empty line is looked at, and there only From (RFC 5322 section 3.6.2). Where two
mail programs could show two different senders, there is none.
"""

import re
from email.errors import InvalidHeaderDefect
from email.headerregistry import HeaderRegistry
from email.utils import getaddresses
from typing import Any

from serving.addresses import domain_of
from serving.mail import LARGEST_HEADER
from serving.pipeline import Unverified

LONGEST_FROM = 2000

_NO_DOMAIN = Unverified("the From is not one address with a domain")

_FROM = re.compile(rb"from[ \t]*:(.*)", re.IGNORECASE | re.DOTALL)
_HEADER_END = re.compile(rb"(?:\A|\r?\n)\r?\n")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_PLAIN = re.compile(r"(?:[^<>@\"(),:;\\]*<)?([^\s<>@\"(),:;\\\[\]]+@[^\s<>@\"(),:;\\\[\]]+)(>?)")


def sender_domain(raw: bytes) -> str | Unverified:
    """The canonical domain of the one From address, or why there is none that every mail program agrees on."""
    address = sender_address(raw)
    return address if isinstance(address, Unverified) else domain_of(address) or _NO_DOMAIN


def sender_address(raw: bytes) -> str | Unverified:
    """The one From address, bare and as it is written, or why there is none."""
    header = _HEADER_END.split(raw, maxsplit=1)[0]
    if len(header) > LARGEST_HEADER:
        return Unverified("the header is larger than 1 MiB")
    if b"\r" in header.replace(b"\r\n", b"") or b"\0" in header:
        return Unverified("the header holds control characters; end its lines with CRLF")
    lines = re.split(rb"\r?\n", _FOLD.sub(b"", header))
    values = [match[1].strip() for match in map(_FROM.fullmatch, lines) if match]
    if len(values) != 1:
        return Unverified("several From; send one" if values else "no From; set From")
    address = _one_address(values[0].decode(errors="replace"))
    return address if address and domain_of(address) else _NO_DOMAIN


def _one_address(value: str) -> str | None:
    """The bare address of a From that can be read in one way only."""
    if len(value) > LONGEST_FROM:
        return None
    plain = _PLAIN.fullmatch(value)
    if plain:
        return plain[1] if ("<" in value) == bool(plain[2]) else None
    return _quoted_address(value)


def _quoted_address(value: str) -> str | None:
    """The address of a From with quotes or comments, where both of the standard library's readers find the same one."""
    try:
        header = HeaderRegistry()("from", value)
        loose = [address for _, address in getaddresses([value])]
        strict = _strict_addresses(header)
    except Exception:  # hostile headers break the readers in more ways than they document
        return None
    return strict[0] if len(strict) == 1 and strict == loose else None


def _strict_addresses(header: Any) -> list[str]:
    """The addresses of an `AddressHeader` outside groups; none where it is faulty."""
    if any(isinstance(defect, InvalidHeaderDefect) for defect in header.defects):
        return []
    return [address.addr_spec for group in header.groups if group.display_name is None for address in group.addresses]
