"""Canaries: random tokens that can be told in whatever form they are written down.

Each token is the run's own 64-bit marker and 128 random bits, written in hexadecimal. All tokens share the marker, so
that a search looks for a few octets in a few forms and asks only then whose token it found.
"""

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MARKER, OWN = 8, 16
"""Octets, before they are written as text."""
LONGEST_WRITTEN = 1024
"""Octets that a token takes at most in any form."""

Write = Callable[[bytes], bytes]
"""How a text looks in a form. What it makes of the beginning of a text is the beginning of what it makes of all."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way in which a token may be written. `is_folded`: it may be broken into lines."""

    name: str
    write: Write
    is_folded: bool = False


@dataclass(slots=True)
class Tokens:
    """Those of one run. `owners` tells whose a token is, by its text: a canary's number and where in it."""

    marker: bytes = field(default_factory=lambda: os.urandom(MARKER))
    owners: dict[bytes, str] = field(default_factory=dict)

    def new(self, owner: str) -> str:
        """A token that nobody else has."""
        text = (self.marker + os.urandom(OWN)).hex()
        self.owners[text.encode()] = owner
        return text

    def patterns(self) -> Mapping[Form, bytes]:
        """What to look for."""
        return {form: form.write(self.marker.hex().encode()) for form in FORMS}

    def owner(self, form: Form, octets: bytes) -> str | None:
        """Whose token stands at the beginning of `octets` in this form; None where none is whole."""
        return next((owner for text, owner in self.owners.items() if octets.startswith(form.write(text))), None)


def _base64(shift: int, of: Write) -> Write:
    """A text inside of base64 (RFC 4648), `shift` octets after a group of three: only what no neighbour changes."""

    def write(text: bytes) -> bytes:
        octets = of(text)
        written = base64.b64encode(bytes(shift) + octets)
        return written[-(-8 * shift // 6) : 8 * (shift + len(octets)) // 6]

    return write


def _escaped(escape: bytes, digits: str) -> Write:
    """Every octet as an escape and two hexadecimal digits."""
    return lambda text: b"".join(escape + format(octet, digits).encode() for octet in text)


def _plain(text: bytes) -> bytes:
    return text


def _octets(text: bytes) -> bytes:
    """The random octets themselves, which the text is the hexadecimal of."""
    return bytes.fromhex(text.decode())


def _utf_16(text: bytes) -> bytes:
    """In either order of octets: without the last one, the text looks the same in both."""
    return text.decode().encode("utf-16-le")[:-1]


_UNFOLDED: Sequence[Form] = (
    Form("upper case", bytes.upper),
    Form("octets", _octets),
    Form("hexadecimal of the text", _escaped(b"", "02x")),
    Form("hexadecimal of the text, upper case", _escaped(b"", "02X")),
    Form("UTF-16", _utf_16),
    Form("percent-encoded", _escaped(b"%", "02x")),
    Form("\\x escapes", _escaped(b"\\x", "02x")),
)


def _folded() -> Iterable[Form]:
    yield Form("plain or quoted-printable", _plain, is_folded=True)
    yield Form("quoted-printable, every octet", _escaped(b"=", "02X"), is_folded=True)
    for of, name in ((_plain, "text"), (_utf_16, "UTF-16"), (_octets, "octets")):
        for shift in range(3):
            yield Form(f"base64 of the {name}, {shift} octets in", _base64(shift, of), is_folded=True)


FORMS: Sequence[Form] = (*_folded(), *_UNFOLDED)
