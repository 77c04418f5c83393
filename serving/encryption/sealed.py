"""PGP/MIME (RFC 3156) with the header protected (RFC 9788): the outside tells only that there is mail.

The encrypted payload is the original mail itself: its fields and its body as they came, line ends made CRLF. Three
things differ: `hp="cipher"` in its Content-Type, an `HP-Outer` field for each field outside, and no Bcc.
"""

import re

from pysequoia import Cert, Tsk, encrypt

from serving.encryption.outside import Fields, Outside, write
from serving.mail import UNREADABLE_SUBJECT, Mail, attached, split, with_crlf

HIDDEN_SUBJECT = "[...]"

_TYPE = re.compile(rb"([\w!#$&^.+-]+/[\w!#$&^.+-]+)[ \t]*;?(.*)", re.DOTALL)
_BINARY = re.compile(rb"^content-transfer-encoding:[ \t]*binary", re.IGNORECASE | re.MULTILINE)
_LEFT_OUT = frozenset({"bcc", "resent-bcc", "hp-outer"})
_BOUNDARY = "clarion-pgp-mime"  # cannot occur in armour, so it needs no randomness


def enclose(raw: bytes, outside: Outside, certificate: Cert, signer: Tsk | None) -> bytes:
    """The mail sealed to the certificate, CRLF and ASCII (but for a UTF-8 address); no mail is attached, sealed."""
    outer = (*outside.header, ("Subject", HIDDEN_SUBJECT))
    sealed = encrypt(payload(raw, outer), recipients=[certificate], signer=signer.signer() if signer else None)
    return write(outer) + _FRAME_START + with_crlf(sealed) + _FRAME_END


def payload(raw: bytes, outer: Fields) -> bytes:
    """The cryptographic payload (RFC 9788) of a mail that travels below the outer fields."""
    mail = split(raw)
    protected = _protected(mail) if mail else None
    if mail is None or protected is None:
        return payload(_fresh(raw, outer), outer)
    copies = b"".join(b"HP-Outer: " + write((field,)) for field in outer)
    is_binary = any(_BINARY.search(text) for text in (mail.body, *(field.octets for field in mail.fields)))
    return protected + copies + b"\r\n" + (mail.body if is_binary else with_crlf(mail.body))


def _protected(mail: Mail) -> bytes | None:
    """The mail's header with the mark of RFC 9788; None where its Content-Type is no media type."""
    match = _TYPE.fullmatch(mail.first("content-type") or b"text/plain")
    if match is None:
        return None
    content_type = b"Content-Type: " + match[1] + b'; hp="cipher"' + (b";" + match[2] if match[2].strip() else b"")
    kept = [field.octets for field in mail.fields if field.name not in _LEFT_OUT and field.name != "content-type"]
    if not mail.first("mime-version"):
        kept.append(b"MIME-Version: 1.0")
    return b"".join(octets + b"\r\n" for octets in [*kept, content_type])


def _fresh(raw: bytes, outer: Fields) -> bytes:
    """A mail of our own that carries octets which are none."""
    own = tuple(field for field in outer if field[0] != "Subject")
    return write((*own, ("Subject", UNREADABLE_SUBJECT))) + attached(raw)


_FRAME_START = f"""\
MIME-Version: 1.0
Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary="{_BOUNDARY}"

This mail is encrypted with OpenPGP (RFC 3156).
--{_BOUNDARY}
Content-Type: application/pgp-encrypted

Version: 1

--{_BOUNDARY}
Content-Type: application/octet-stream; name="encrypted.asc"
Content-Disposition: inline; filename="encrypted.asc"

""".replace("\n", "\r\n").encode()
_FRAME_END = f"\r\n--{_BOUNDARY}--\r\n".encode()
