"""Opening a PGP/MIME mail (RFC 3156) as a recipient's tool should: the signed content whole, or nothing (EFAIL).

No process of ours opens sealed mail; this judges what is sealed, and what others seal.
"""

import os
import subprocess
import sys
from pathlib import Path

from pysequoia import Cert, Tsk

from serving.encryption import opening_process
from serving.errors import Unsealable

LARGEST = 64 << 20
"""Octets of a mail that are looked at."""

_BEGIN, _END = b"-----BEGIN PGP MESSAGE-----", b"-----END PGP MESSAGE-----"
_ROOT = str(Path(__file__).parents[2])
_PATIENCE = 60
"""Seconds on the clock; the process may use `opening_process.SECONDS` of a processor."""


def open_sealed(octets: bytes, key: Tsk, trusted_signer: Cert) -> bytes:
    """The payload of a sealed mail, octet for octet as `trusted_signer` signed it; the key has no password.

    The mail must hold one armoured message, encrypted with integrity protection (RFC 9580, section 5.13) and signed
    inside, uncompressed: PySequoia 0.1.35 verifies no signature below a compression. What stands around the armour
    is not looked at, and never released. Two things to know: the time taken still tells where it failed, so strangers
    must not be answered with the outcome; and a signature does not say for whom. Who may read a sealed mail can seal
    it, still signed, to another; the `HP-Outer: To` inside says who it was for.

    Raises:
        Unsealable: it does not open, or not within 5 s of a processor and 512 MiB; why is not said, lest an attacker
            ask until they know the plaintext.
    """
    try:
        return _opened(_armour(octets), bytes(key), bytes(trusted_signer))
    except Exception:  # whatever it is, it looks the same
        raise Unsealable("the OpenPGP mail does not open: another's key or signature, or altered") from None


def _armour(octets: bytes) -> bytes:
    """The one armoured message of a mail."""
    _, begin, rest = octets.partition(_BEGIN)
    body, end, after = rest.partition(_END)
    if len(octets) > LARGEST or not end or _BEGIN in after:
        raise ValueError("not one armoured message")
    return begin + body + end + b"\r\n"


def _opened(message: bytes, key: bytes, signer: bytes) -> bytes:
    command = [sys.executable, "-P", "-s", "-S", "-m", opening_process.__name__]
    done = subprocess.run(  # noqa: S603
        command,
        input=opening_process.frame(message, key, signer),
        env={"PYTHONPATH": os.pathsep.join((_ROOT, *filter(None, sys.path)))},
        capture_output=True,
        check=True,
        timeout=_PATIENCE,
    )
    return done.stdout
