"""Certificates that people announce in their own mail: the Autocrypt field (Autocrypt Level 1, release 1.1).

It proves nothing: whoever writes a mail writes the field. So it is heard only where the From domain has signed it, and
a certificate learned from it never stands beside or replaces one from a better source. We write no such field
ourselves: it invites mail that is sealed to us, and the gateway reads none.
"""

import base64
import binascii
import re
from datetime import datetime

from pysequoia import Cert

from serving.addresses import canonical_address
from serving.encryption.bundle import Block, blocks, bundle
from serving.encryption.certificates import Unusable, read_certificate
from serving.encryption.sources import Source, found, merge, origin_of

LARGEST_FIELD = 10 * 1024
"""Octets, its name and folds included."""

_NAME = b"Autocrypt: "
_KNOWN = frozenset({"addr", "prefer-encrypt", "keydata"})
_SPACE = re.compile(r"[ \t\r\n]+")


def read_field(value: bytes, from_address: str) -> bytes | Unusable:
    """The key's octets in the field's value, or why it does not count.

    Invalid is what is larger than 10 KiB, is not for the From address, does not end in `keydata`, names an attribute
    twice, or has one that is not known and whose name does not begin with an underscore.
    """
    if len(_NAME) + len(value) > LARGEST_FIELD:
        return Unusable("the Autocrypt field is larger than 10 KiB")
    attributes = _attributes(value)
    if attributes is None or not {"addr", "keydata"} <= attributes.keys():
        return Unusable("the Autocrypt field is malformed")
    if any(name not in _KNOWN and not name.startswith("_") for name in attributes):
        return Unusable("the Autocrypt field has a critical attribute that is not understood")
    if canonical_address(attributes["addr"]) != canonical_address(from_address):
        return Unusable("the Autocrypt field is not for the address that the mail is from")
    try:
        return base64.b64decode(_SPACE.sub("", attributes["keydata"]), validate=True)
    except (binascii.Error, ValueError):
        return Unusable("the Autocrypt field is malformed")


def learned(held: str, value: bytes, from_address: str, now: datetime) -> str | None:
    """The bundle that is kept after a mail with this one Autocrypt field, None where it stays `held` ("": nothing is).

    Ask only for a mail whose From domain has signed the field, from this one address, neither
    `Auto-Submitted: auto-replied` nor a `multipart/report`. `now` is the mail's Date, or the time of its arrival if
    that is earlier: what is older than the certificate that was learned last changes nothing.
    """
    known = blocks(held.encode())
    origins = [origin_of(block) for block in known]
    if held.strip() and not known:
        return None
    if any(each.source is not Source.AUTOCRYPT or (each.since is not None and each.since > now) for each in origins):
        return None
    key = read_field(value, from_address)
    if isinstance(key, Unusable):
        return None
    certificate = read_certificate(key, from_address, now)
    merged = certificate if isinstance(certificate, Unusable) else merge(known, certificate, from_address, now)
    if isinstance(merged, Unusable) or any(_holds(block, merged) for block in known):
        return None
    return bundle([found(merged, Source.AUTOCRYPT, now)])


def _holds(block: Block, certificate: Cert) -> bool:
    """Whether the block says all that the certificate says."""
    return bytes(Cert.from_bytes(block.octets)) == bytes(certificate)


def _attributes(value: bytes) -> dict[str, str] | None:
    """The attributes in their order; None where one is malformed or doubled, or `keydata` is not the last."""
    try:
        parts = value.decode().rstrip("; \t\r\n").split(";")
    except UnicodeDecodeError:
        return None
    pairs = [tuple(each.strip() for each in part.partition("=")[::2]) for part in parts]
    attributes = {name.lower(): text for name, text in pairs}
    if len(attributes) != len(pairs) or not all(attributes) or list(attributes)[-1] != "keydata":
        return None
    return attributes
