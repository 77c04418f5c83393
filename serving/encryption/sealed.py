"""PGP/MIME (RFC 3156) with the header protected (RFC 9788): the outside tells only that there is mail.

The encrypted payload is the original mail itself: its fields and its body as they came, line ends made CRLF. Three
things differ: `hp="cipher"` in its Content-Type, an `HP-Outer` field for each field outside, and no Bcc. An urgent
mail has a note of ours beside it, as a part of its own, with the link that acknowledges it.
"""

import hashlib
import re
from functools import lru_cache

from pysequoia import Cert, PySigner, Tsk, encrypt

from serving.acknowledging import Note
from serving.encryption.outside import Fields, Outside, write
from serving.mail import UNREADABLE_SUBJECT, Mail, attached, fields_named, split, with_crlf

HIDDEN_SUBJECT = "[...]"

_TYPE = re.compile(rb"([\w!#$&^.+-]+/[\w!#$&^.+-]+)[ \t]*;?(.*)", re.DOTALL)
_BINARY = re.compile(rb"^content-transfer-encoding:[ \t]*binary", re.IGNORECASE | re.MULTILINE)
_LEFT_OUT = ("bcc", "resent-bcc", "hp-outer", "content-type")
_ALL_LEFT_OUT = fields_named(*_LEFT_OUT)
_BOUNDARY = "clarion-pgp-mime"  # cannot occur in armour, so it needs no randomness
_WHOLE = (b"multipart/encrypted", b"multipart/signed", b"application/pkcs7-mime", b"application/x-pkcs7-mime")
"""What mail programs recognise only where it is the whole mail."""
_EIGHT_BIT = re.compile(rb"8bit|binary", re.IGNORECASE)


def enclose(raw: bytes, outside: Outside, certificate: Cert, signer: Tsk | None, note: Note | None = None) -> bytes:
    """The mail sealed to the certificate, CRLF and ASCII (but for a UTF-8 address); no mail is attached, sealed."""
    outer = (*outside.header, ("Subject", HIDDEN_SUBJECT))
    head, within = write(outer), payload(raw, outer, note)
    sealed = encrypt(within, recipients=[certificate], signer=_signer(signer) if signer else None)
    return b"".join((head, _FRAME_START, with_crlf(sealed), _FRAME_END))


@lru_cache(maxsize=4)
def _signer(key: Tsk) -> PySigner:
    """Made once for each key: making it takes a twentieth of what sealing 4 KiB does."""
    return key.signer()


def payload(raw: bytes, outer: Fields, note: Note | None = None) -> bytes:
    """The cryptographic payload (RFC 9788) of a mail that travels below the outer fields. With a note the mail's body
    is one part of two; what is itself signed or sealed stays whole, and only fields tell what the note says."""
    mail = split(raw)
    protected = _protected(mail) if mail else None
    if mail is None or protected is None:
        return payload(_fresh(raw, outer), outer, note)
    body = with_crlf(mail.body)
    if body != mail.body and _is_binary(mail):
        body = mail.body
    if note is not None and not mail.first("content-type").lower().startswith(_WHOLE):
        return _beside(mail, body, outer, note)
    if note is not None:
        protected = write(note.fields) + protected
    return b"".join((protected, write(outer, "HP-Outer: "), b"\r\n", body))


def _protected(mail: Mail) -> bytes | None:
    """The mail's header with the mark of RFC 9788; None where its Content-Type is no media type."""
    match = _TYPE.fullmatch(mail.first("content-type") or b"text/plain")
    if match is None:
        return None
    content_type = b"Content-Type: " + match[1] + b'; hp="cipher"' + (b";" + match[2] if match[2].strip() else b"")
    version = b"" if mail.first("mime-version") else b"\r\nMIME-Version: 1.0"
    whole = b"".join((_ALL_LEFT_OUT.sub(b"", mail.header), version, b"\r\n", content_type, b"\r\n"))
    return whole[2:]


def _beside(mail: Mail, body: bytes, outer: Fields, note: Note) -> bytes:
    """The mail's body as it came, fields of its own included, and the note: below it, or above it where a reader would
    wonder why they have this mail. The boundary is the body's hash, which no body holds."""
    boundary = b"clarion-" + hashlib.sha256(body).hexdigest()[:32].encode()
    content = [field.octets for field in mail.fields if field.name.startswith("content-")]
    kept = [
        field.octets
        for field in mail.fields
        if field.name not in _LEFT_OUT and not field.name.startswith("content-") and field.name != "mime-version"
    ]
    encoding = _EIGHT_BIT.match(mail.first("content-transfer-encoding"))  # RFC 2045 section 6.4: as that of its parts
    kept += [b"MIME-Version: 1.0", b'Content-Type: multipart/mixed; hp="cipher"; boundary="' + boundary + b'"']
    kept += [b"Content-Transfer-Encoding: " + encoding[0]] if encoding else []
    original = b"\r\n".join([*content, b"", body])
    ours = b"Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: inline\r\n\r\n" + with_crlf(
        note.text.encode()
    )
    parts = (ours, original) if note.is_escalated else (original, ours)
    head = write(note.fields) + b"\r\n".join([*kept, b""]) + write(outer, "HP-Outer: ")
    framed = b"".join(b"\r\n--" + boundary + b"\r\n" + part for part in parts)
    return head + framed + b"\r\n--" + boundary + b"--\r\n"


def _is_binary(mail: Mail) -> bool:
    """Whether any part says that it is binary, so that its line ends are data."""
    texts = (mail.body, mail.header)
    return any(b"binary" in text.lower() and _BINARY.search(text) for text in texts)  # a plain search first: it is fast


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
