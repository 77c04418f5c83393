"""What the SMTP envelope of a mail said, for whoever reports on it later: a private field above the stored mail.

The intake writes it first of all, inside what is sealed, and removes any that came from outside; encryption takes it
off, so it never travels. One line of JSON in ASCII, whatever the addresses hold.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from serving.addresses import canonical_address
from serving.trace import fields_of, header_size

FIELD = b"Clarion-Envelope"

Returns = Literal["full", "headers"]
"""How much of the mail a report may return (RFC 3461 section 4.3): RET=FULL or RET=HDRS."""
Event = Literal["success", "failure", "delay"]
"""What a report may be about (RFC 3461 section 4.1)."""

_WRITTEN = re.compile(FIELD + rb": ([^\r\n]*)\r\n")
_NAMED = re.compile(FIELD, re.IGNORECASE)
_FORGED = re.compile(FIELD + rb"[ \t]*(?:[:\r\n]|\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """What the sender wants to be told about one recipient: `notify` None leaves it to us (failure and delay), and ()
    means never. `original` is ORCPT, decoded: `rfc822;ada@example.org`."""

    notify: tuple[Event, ...] | None = None
    original: str | None = None


ASKED_NOTHING = Request()


@dataclass(frozen=True, slots=True)
class SmtpEnvelope:
    """MAIL FROM (a bare address, "" where nobody wants a report), ENVID decoded, RET, and what RCPT asked."""

    mail_from: str
    envelope_id: str | None = None
    returns: Returns | None = None
    request: Request = ASKED_NOTHING


def envelope_field(envelope: SmtpEnvelope, requests: Mapping[str, Request]) -> bytes:
    """The field for a mail to many: `requests` by recipient; whoever asked for nothing needs no entry."""
    asked = {
        canonical_address(recipient): [request.notify, request.original]
        for recipient, request in requests.items()
        if request != ASKED_NOTHING
    }
    words = [envelope.mail_from, envelope.envelope_id, envelope.returns, asked]
    return b"%s: %s\r\n" % (FIELD, json.dumps(words).encode("ascii"))


def size_of(recipient: str, request: Request) -> int:
    """About how many octets of the field are about this recipient."""
    return 0 if request == ASKED_NOTHING else len(json.dumps([recipient, request.notify, request.original]))


def envelope_of(mail: bytes, recipient: str) -> SmtpEnvelope | None:
    """How the stored mail came for that recipient; None where it did not come by SMTP."""
    written = _WRITTEN.match(mail)
    if written is None:
        return None
    mail_from, envelope_id, returns, asked = json.loads(written[1])
    notify, original = asked.get(canonical_address(recipient), (None, None))
    return SmtpEnvelope(mail_from, envelope_id, returns, Request(_events(notify), original))


def without_envelope(raw: bytes) -> bytes:
    """The mail without the field, whoever wrote it; all else stays as it came."""
    written = _WRITTEN.match(raw)
    raw = raw[written.end() :] if written else raw
    size = header_size(raw)
    if _NAMED.search(raw, 0, size) is None:
        return raw
    kept = [octets for octets in fields_of(raw[:size]) if _FORGED.match(octets) is None]
    return b"".join(kept) + raw[size:]


def _events(notify: Any) -> tuple[Event, ...] | None:
    return None if notify is None else tuple(notify)
