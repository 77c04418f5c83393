"""Mail that travels open because a written policy says so: unchanged below the trace fields that we prepend.

Line ends become CRLF. Only what SMTP cannot carry (lines over 998 octets, NUL, bare CR) is re-encoded, and then a
`Clarion-Reencoded` field says so; what is no mail goes out as an attachment.
"""

from email import message_from_bytes
from email.encoders import encode_base64
from email.generator import BytesGenerator
from email.message import Message
from email.policy import compat32
from io import BytesIO

from serving.encryption.outside import Fields, Outside, write
from serving.mail import UNREADABLE_SUBJECT, Field, Mail, attached, fits_smtp, fold, split, with_crlf

LARGEST_STRUCTURE = 65_536
MOST_LINES = 400_000
"""Lines of a body that is taken apart: 25 MiB in base64 have fewer, and each costs the parser hundreds of octets."""
REENCODED = ("Clarion-Reencoded", "yes; SMTP cannot carry the original's lines")


def relay(raw: bytes, outside: Outside, told: Fields = ()) -> bytes:
    """The mail below the trace fields, in a form that SMTP carries; a mail without Message-ID is given ours. What is
    `told` by fields of ours stands above everything."""
    mail, ours = split(raw), (*told, *outside.trace)
    if mail is None:
        return _attachment(raw, ours, outside)
    trace = ours if mail.first("message-id") else (*ours, ("Message-ID", outside.message_id))
    unchanged = b"".join((mail.header[2:], b"\r\n\r\n", with_crlf(mail.body)))
    if fits_smtp(unchanged):
        return write(trace) + unchanged
    readable = _reencoded(mail)
    return write((*trace, REENCODED)) + readable if readable else _attachment(raw, (*ours, REENCODED), outside)


def _attachment(raw: bytes, trace: Fields, outside: Outside) -> bytes:
    own = tuple(field for field in outside.header if field not in trace)
    return write((*trace, *own, ("Subject", UNREADABLE_SUBJECT))) + attached(raw)


def _reencoded(mail: Mail) -> bytes | None:
    """The mail with long header lines folded and unfit parts in base64; None where even that does not fit."""
    own = b"".join(fold(field.octets) + b"\r\n" for field in mail.fields if not _is_structural(field))
    structure = b"".join(field.octets + b"\r\n" for field in mail.fields if _is_structural(field))
    if len(structure) > LARGEST_STRUCTURE or mail.body.count(b"\n") > MOST_LINES:
        return None
    try:
        message = message_from_bytes(structure + b"\r\n" + mail.body, policy=compat32)
        for part in message.walk():
            _encode(part)
        octets = own + _flat(message)
    except Exception:  # the standard library breaks on hostile mail in undocumented ways
        return None
    return octets if fits_smtp(octets) else None


def _is_structural(field: Field) -> bool:
    return field.name.startswith("content-") or field.name == "mime-version"


def _encode(part: Message) -> None:
    payload = part.get_payload()
    if part.is_multipart() or fits_smtp(with_crlf(str(payload).encode(errors="surrogateescape"))):
        return
    content = part.get_payload(decode=True)
    del part["Content-Transfer-Encoding"]
    part.set_payload(content)
    encode_base64(part)


def _flat(message: Message) -> bytes:
    out = BytesIO()
    policy = compat32.clone(linesep="\r\n", max_line_length=0)
    BytesGenerator(out, mangle_from_=False, maxheaderlen=0, policy=policy).flatten(message)
    return out.getvalue()
