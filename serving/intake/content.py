"""What was sent after DATA, before it is taken: lines as SMTP has them, no circle, none of our private fields."""

import re

from serving.envelope import without_envelope
from serving.intake.replies import Refusal
from serving.trace import header_size

LONGEST_LINE = 1 << 20
"""Octets without CRLF. RFC 5321 has 998, real mail has more, and delivery encodes again what a receiver cannot take."""
MOST_HOPS, MOST_VISITS = 50, 5
"""Received fields of anybody, and of ours, that a mail may have (RFC 5321 section 6.3)."""

_MBOX_LINE = re.compile(rb"\A>?From [^\r\n]*\r\n")
_RECEIVED = re.compile(rb"^received[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


def unstuffed(data: bytes) -> bytes:
    """The mail in the octets between 354 and the last dot, without transparency (RFC 5321 section 4.5.2)."""
    return data[data.startswith(b".") :].replace(b"\r\n.", b"\r\n")


def read_content(mail: bytes, domain: str) -> bytes:
    """The mail as it is kept: without an mbox line above it, and without fields that only we write.

    Raises:
        Refusal: 550 for what may mean two things to two servers, 554 for lines without end and for circles. `domain` is
            ours.
    """
    crlf = mail.count(b"\r\n")
    if mail.count(b"\n") != crlf or mail.count(b"\r") != crlf:
        raise Refusal("550 5.6.0 A line ends in a bare CR or LF; end each in CRLF (RFC 5321 section 2.3.8)")
    if b"\0" in mail:
        raise Refusal("550 5.6.0 There is a NUL octet; encode what is no text (RFC 2045)")
    if _has_line_over(mail, LONGEST_LINE):
        raise Refusal(f"554 5.6.0 A line is longer than {LONGEST_LINE} octets; break it")
    mail = without_envelope(_MBOX_LINE.sub(b"", mail))
    _check_circle(mail, domain)
    return mail


def message_id(mail: bytes) -> bytes:
    """The first Message-ID, b"" where there is none."""
    found = _MESSAGE_ID.search(mail, 0, header_size(mail))
    return found[1].replace(b"\r\n", b"").strip() if found else b""


def _has_line_over(mail: bytes, longest: int) -> bool:
    """Whether a line has more octets than that, without CRLF. Only what may lie in one is looked at: the expression
    that says so takes seconds for a mail of empty lines, in which nobody else is served."""
    stride = longest // 2
    for start in range(0, len(mail) - stride + 1, stride):
        if mail.find(b"\n", start, start + stride) < 0:  # every such line covers a stride
            before = mail.rfind(b"\n", 0, start) + 1
            after = mail.find(b"\n", start)
            if (len(mail) if after < 0 else after - 1) - before > longest:
                return True
    return False


def _check_circle(mail: bytes, domain: str) -> None:
    received = _RECEIVED.findall(mail, 0, header_size(mail))
    ours = sum(f"by {domain} (clarion)".encode() in b" ".join(field.lower().split()) for field in received)
    if len(received) > MOST_HOPS or ours > MOST_VISITS:
        raise Refusal("554 5.4.6 The mail goes round in circles: too many Received fields")
