"""Addresses of our own to which answers come: where a mail of ours bounces to, and where a reply to it goes.

The local part names the notification and proves that we gave the address out, as BATV and VERP do; it is lower case
and short enough for every server (RFC 5321 section 4.5.3.1.1).
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Literal

from serving.addresses import canonical_domain

Purpose = Literal["bounce", "reply"]
"""A report of what became of the mail (RFC 3464), or its reader's answer."""

_LOCAL = re.compile(r"(bounce|reply)\+([0-9a-z]{1,13})-([a-z2-7]{16})", re.IGNORECASE)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Returned:
    """What an address of ours says: what for, and which notification it is about."""

    purpose: Purpose
    notification: int


class ReturnAddresses:
    """Makes and reads the addresses of one domain; `key` is derived from the lookup key (`derive("return")`)."""

    def __init__(self, key: bytes, domain: str) -> None:
        self._key = key
        self._domain = domain

    def make(self, purpose: Purpose, notification: int) -> str:
        """The bare address, such as `bounce+1f-abcdefghijklmnop@example.org`."""
        number = _number(notification)
        return f"{purpose}+{number}-{self._proof(purpose, number)}@{self._domain}"

    def claims(self, address: str) -> bool:
        """Whether the address is written as ours are, whoever made it."""
        local, _, domain = address.rpartition("@")
        return canonical_domain(domain) == self._domain and local.lower().startswith(("bounce+", "reply+"))

    def read(self, address: str) -> Returned | None:
        """What the address says, None where we did not make it."""
        local, _, domain = address.rpartition("@")
        found = _LOCAL.fullmatch(local)
        if found is None or (canonical_domain(domain) or domain) != self._domain:
            return None
        name, number, proof = (part.lower() for part in found.groups())
        purpose: Purpose = "bounce" if name == "bounce" else "reply"
        if not hmac.compare_digest(proof, self._proof(purpose, number)):
            return None
        return Returned(purpose, int(number, 36))

    def _proof(self, purpose: Purpose, number: str) -> str:
        octets = hmac.digest(self._key, f"{purpose}\n{number}".encode(), hashlib.sha256)
        return base64.b32encode(octets[:10]).decode().lower()


def _number(value: int) -> str:
    """In base 36, without leading zeros."""
    digits = ""
    while value:
        value, digit = divmod(value, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
