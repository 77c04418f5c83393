"""Reports to senders (RFC 3464): what became of a mail, for a person and for a program.

A report holds no more of the mail than its sender knows, and of a mail that travelled sealed only what names it: the
report may travel open.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any, assert_never

from serving.addresses import domain_of
from serving.letters import begin_letter
from serving.mail import fits_smtp, split, with_crlf
from serving.origin import Action, Origin
from serving.sealing import SealingKey

LARGEST_RETURN = 65_536
"""Octets of a mail that is returned whole, and of a header: who asked for more gets less (RFC 3461 section 4.3)."""

NOT_SENT = "not sent"
"""In a reply that no server gave."""

_REPLY = re.compile(r"(?:\A|last: |: )([245]\d\d)[ -](?:([245]\.\d{1,3}\.\d{1,3})(?!\S))?")
_STATUS = re.compile(r"(?:\A|\s)([245]\.\d{1,3}\.\d{1,3})(?!\S)")
_TRACE = frozenset(
    {
        *("received", "return-path", "authentication-results", "bcc"),
        *("clarion-envelope", "clarion-notification", "clarion-reencoded"),
    }
)
"""What was added on the way, and is not the sender's; Bcc is nobody's (RFC 5322 section 3.6.3)."""
_XTEXT = re.compile(r"[!-*,-<>-\[\]-~]")
_FIT = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one notification; times are UTC. `reply` is the words of the server (`remote`, where it is known)
    without addresses, or our own reason; `until` is when we stop trying."""

    id: str
    action: Action
    reply: str
    arrived: datetime
    at: datetime
    until: datetime | None = None
    remote: str = ""

    @property
    def status(self) -> str:
        """The status (RFC 3463): the reply's own, else what its code or our reason means."""
        return status_of(self.reply, self.action)


def status_of(reply: str, action: Action) -> str:
    """The status in a reply, whose class is that of the action; 4.4.7, delivery time expired, is one of the failed."""
    if action in ("relayed", "delivered"):
        return "2.0.0"
    said = _REPLY.search(reply) or _STATUS.match(reply)
    status = said and said[said.lastindex or 1]
    if status and "." in status:
        return status
    if status:
        return f"{status[0]}.0.0"
    if "expired" in reply or "tried for" in reply:
        return "4.4.7"
    return "5.0.0" if action == "failed" else "4.0.0"


def write_report(origin: Origin, rcpt_to: str, report: Report, mail_from: str, mail: bytes | None) -> bytes:
    """The report to the sender; RFC 5322 octets, without Message-ID, which is given where it leaves.

    `mail` is what was sent where it travels open by policy; its header, or with RET=FULL all of it, is returned with a
    failure. None: it travelled sealed.
    """
    parts = [
        _part(_words(report, rcpt_to, origin), "text/plain", "charset=utf-8"),
        _part(_machine(origin, rcpt_to, report, mail_from), "message/delivery-status"),
        _returned(origin, report, mail),
    ]
    boundary = f"=_{hashlib.sha256(b''.join(parts)).hexdigest()[:32]}"
    letter = begin_letter(mail_from, origin.to, _SUBJECTS[report.action], report.at)
    letter.replace_header("Auto-Submitted", "auto-replied")
    if _is_message_id(origin.message_id):
        letter["In-Reply-To"] = letter["References"] = origin.message_id
    head = letter.as_bytes().partition(b"\r\n\r\n")[0]
    kind = f'multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"'
    encoding = "7bit" if all(part.isascii() for part in parts) else "8bit"
    mime = f"\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts)
    return b"%s%s%s--%s--\r\n" % (head, mime.encode(), body, boundary.encode())


def sealed_report(
    origin: Origin,
    rcpt_to: str,
    report: Report,
    mail_from: str,
    mail: bytes,
    facts: Mapping[str, Any],
    content: SealingKey,
) -> dict[str, Any]:
    """`write_report` as the store's command `report` takes it; `mail` is what was sent, and nothing of it goes back
    where the facts do not say that it travelled open."""
    is_open = facts.get("envelope", {}).get("form") == "open"
    letter = write_report(origin, rcpt_to, report, mail_from, mail if is_open else None)
    return {
        "recipient": origin.lookup,
        "address": content.seal(origin.to.encode()).hex(),
        "body": content.seal(letter).hex(),
    }


_SUBJECTS: dict[Action, str] = {
    "failed": "Not delivered",
    "delayed": "Not delivered yet, still trying",
    "relayed": "Handed on to a server that does not report",
    "delivered": "Delivered",
}


def _news(report: Report) -> str:
    match report.action:
        case "failed":
            return "A message of yours was not delivered and will not be."
        case "delayed":
            until = f" until {report.until:%Y-%m-%d %H:%M} UTC" if report.until else ""
            return f"A message of yours is not delivered yet. It is tried again{until}; nothing is for you to do."
        case "relayed":
            return "The next mail server has taken a message of yours. It does not report what becomes of it."
        case "delivered":
            return "The mail server of its recipient has reported that a message of yours was delivered."
        case _:
            assert_never(report.action)


def _words(report: Report, rcpt_to: str, origin: Origin) -> bytes:
    name = origin.message_id if _is_message_id(origin.message_id) else "(none was given)"
    lines = [
        *(_news(report), ""),
        *(f"Recipient     {rcpt_to}", f"Notification  {report.id}", f"Message-ID    {name}"),
        *(f"Status        {report.status}", f"Reason        {report.reply}"),
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()


def _machine(origin: Origin, rcpt_to: str, report: Report, mail_from: str) -> bytes:
    """The machine-readable part: about the mail, then about its recipient (RFC 3464 sections 2.2 and 2.3)."""
    said = None if NOT_SENT in report.reply else _REPLY.search(report.reply)
    about_mail = {
        "Original-Envelope-Id": _fit(origin.envelope_id or ""),
        "Reporting-MTA": f"dns; {domain_of(mail_from) or 'clarion.invalid'}",
        "Arrival-Date": format_datetime(report.arrived),
    }
    about_recipient = {
        "Original-Recipient": _typed(origin.original) if origin.original else "",
        "Final-Recipient": _typed(f"rfc822;{rcpt_to}"),
        "Action": report.action,
        "Status": report.status,
        "Remote-MTA": f"dns; {report.remote}" if report.remote else "",
        "Diagnostic-Code": f"smtp; {report.reply[said.start(1) :]}" if said else "",
        "Last-Attempt-Date": format_datetime(report.at),
        "Will-Retry-Until": format_datetime(report.until) if report.until else "",
    }
    return _fields(about_mail) + b"\r\n" + _fields(about_recipient)


def _fields(fields: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value).encode("ascii")


def _typed(address: str) -> str:
    """A typed address as 7-bit fields hold it: beyond ASCII it is of the type `utf-8` (RFC 6533 section 3)."""
    kind, _, name = address.partition(";")
    if name.isascii():
        return f"{_fit(kind)}; {_fit(name)}"
    escaped = "".join(each if _XTEXT.fullmatch(each) else f"\\x{{{ord(each):02X}}}" for each in name)
    return f"utf-8; {escaped}"


def _returned(origin: Origin, report: Report, mail: bytes | None) -> bytes:
    """What of the mail goes back: all of it only with a failure (RFC 3461 section 4.3)."""
    known = None if mail is None else split(mail)
    if known is None:
        return _header(origin.header.encode())
    own = b"".join(field.octets + b"\r\n" for field in known.fields if field.name not in _TRACE)
    whole = own + b"\r\n" + with_crlf(known.body)
    if origin.returns == "full" and report.action == "failed" and len(whole) <= LARGEST_RETURN and fits_smtp(whole):
        return _part(whole, "message/rfc822" if own.isascii() else "message/global")
    return _header(own if len(own) <= LARGEST_RETURN and fits_smtp(own) else origin.header.encode())


def _header(octets: bytes) -> bytes:
    return _part(octets, "text/rfc822-headers" if octets.isascii() else "message/global-headers")


def _part(content: bytes, kind: str, *parameters: str) -> bytes:
    words = "; ".join((kind, *parameters))
    encoding = "7bit" if content.isascii() else "8bit"
    return f"Content-Type: {words}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + content


def _fit(text: str) -> str:
    """In one line of a 7-bit field."""
    return _FIT.sub("?", text)[:500]


def _is_message_id(text: str) -> bool:
    return re.fullmatch(r"<[!-~]{1,250}>", text) is not None
