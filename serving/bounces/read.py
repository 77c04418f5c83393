"""What a mail that came back says became of ours: a report (RFC 3464), or one of the many shapes that are none.

Whatever the mail looks like, there is an answer or none, in bounded time; only the beginning of it is looked at.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.parser import HeaderParser
from email.policy import compat32

from flufl.bounce import all_failures

from serving.delivery.replies import clean
from serving.trace import stamped

LARGEST = 131_072
"""Octets of a report that are read: what it returns of the mail stands at its end."""
MOST = 50
"""Recipients of a report that are read; what comes back to one of our addresses is about one."""

_ACTIONS = {
    "failed": "failed",
    "delayed": "delayed",
    "delivered": "delivered",
    "relayed": "delivered",
    "expanded": "delivered",
}
_GRAVEST = ("failed", "delayed", "delivered")
_BY_CLASS = {"2": "delivered", "4": "delayed", "5": "failed"}
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?m)^.*?(?<![\d.])([45]\d\d[ -][45]\.\d{1,3}\.\d{1,3}\b.*)$")
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_KINDS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RESPONDERS = ("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-response-suppress", "x-vacation")


@dataclass(frozen=True, slots=True)
class Bounce:
    """What was said: `action` is failed, delayed or delivered; `status` as in RFC 3463; `diagnostic` the server's words
    without addresses, maybe empty; `addresses`, whom it is about: for comparing, never to be written down. Where the
    receiver handed it on to somebody else, that one is named, not whom we sent to."""

    action: str
    status: str
    diagnostic: str
    addresses: frozenset[str]

    @property
    def is_permanent(self) -> bool:
        """Whether the mail will not arrive."""
        return self.action == "failed"

    @property
    def reply(self) -> str:
        """Status and words in one line."""
        said = self.diagnostic
        return said if self.status in said else f"{self.status} {said}".strip()


def read_bounce(raw: bytes) -> Bounce | None:
    """What the mail says became of ours; None where it says nothing of that: an answer, a receipt, a vacation."""
    try:
        mail = message_from_bytes(raw[:LARGEST], policy=compat32)
        return _reported(mail) or (_guessed(mail) if _may_be_bounce(raw, mail) else None)
    except Exception:  # mail of anybody, and parsers that break on it in undocumented ways
        return None


def _reported(mail: Message) -> Bounce | None:
    """From the machine-readable part that stands directly in the mail: one that it returns to us is about another."""
    found = [bounce for part in _parts(mail) if part.get_content_type() in _KINDS for bounce in _blocks(part)][:MOST]
    if not found:
        return None
    gravest = min(found, key=lambda bounce: _GRAVEST.index(bounce.action))
    addresses = frozenset().union(*(bounce.addresses for bounce in found if bounce.action == gravest.action))
    return Bounce(gravest.action, gravest.status, gravest.diagnostic, addresses)


def _parts(mail: Message) -> list[Message]:
    payload = mail.get_payload()
    return [part for part in payload if isinstance(part, Message)] if isinstance(payload, list) else [mail]


def _blocks(part: Message) -> Iterator[Bounce]:
    for block in re.split(r"\r?\n(?:\r?\n)+", _machine_text(part).strip(), maxsplit=MOST)[:MOST]:
        bounce = _about_recipient(HeaderParser(policy=compat32).parsestr(block))
        if bounce is not None:
            yield bounce


def _machine_text(part: Message) -> str:
    """The part's fields, decoded: the parser takes what is of the type `message` for a mail, or for several."""
    payload = part.get_payload()
    inner = payload if isinstance(payload, list) else []
    octets = b"\n\n".join(each.as_bytes().strip() for each in inner[:MOST] if isinstance(each, Message))
    plain = Message(policy=compat32)
    plain["Content-Transfer-Encoding"] = str(part.get("Content-Transfer-Encoding", "7bit"))
    plain.set_payload(octets.decode("ascii", "surrogateescape") if inner else payload)
    decoded = plain.get_payload(decode=True)
    return decoded.decode("utf-8", "replace") if isinstance(decoded, bytes) else ""


def _about_recipient(block: Message) -> Bounce | None:
    said = {name: str(block.get(name, "")) for name in ("Action", "Status", "Diagnostic-Code")}
    about = block.get("Final-Recipient") or block.get("Original-Recipient") or ""
    addresses = frozenset(filter(None, [_address(str(about))]))
    status = _status(said["Status"], said["Diagnostic-Code"])
    word = said["Action"].split("(")[0].strip().lower()
    action = _ACTIONS.get(word) or (_BY_CLASS[status[0]] if status and not word else None)
    if action is None or not (addresses or said["Action"]):
        return None
    diagnostic = said["Diagnostic-Code"].partition(";")[2] or said["Diagnostic-Code"]
    return Bounce(action, status or _unstated(action), clean(diagnostic.strip(), *addresses), addresses)


def _status(status: str, diagnostic: str) -> str | None:
    """The status, or the one in the server's words where the field only says that something is wrong."""
    stated, quoted = _STATUS.search(status), _STATUS.search(diagnostic)
    if stated and quoted and stated[0].endswith(".0.0") and quoted[1] == stated[1]:
        return quoted[0]
    found = stated or quoted
    return found and found[0]


def _unstated(action: str) -> str:
    return {"failed": "5.0.0", "delayed": "4.0.0", "delivered": "2.0.0"}[action]


def _address(field: str) -> str:
    """The address of a typed one (`rfc822; ada@example.org`), whichever way it is written (RFC 6533 section 3)."""
    kind, separator, name = field.partition(";")
    text = " ".join((name if separator else kind).split()).strip("<>")
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if kind.strip().lower() == "utf-8" else text


def _may_be_bounce(raw: bytes, mail: Message) -> bool:
    """Whether what is no report may be read as a bounce: it came from nobody, and is no other automatic answer.

    Bounces have the empty path (RFC 5321 section 4.5.5); a vacation, a receipt and a complaint are none.
    """
    if stamped(raw).mail_from or mail.get_content_type() == "multipart/report":
        return False
    if any(name in mail for name in _RESPONDERS):
        return False
    is_automatic = str(mail.get("Auto-Submitted", "")).lower().startswith("auto-replied")
    sender = str(mail.get("From", "")).lower()
    return not is_automatic or "x-failed-recipients" in mail or "daemon" in sender or "postmaster" in sender


def _guessed(mail: Message) -> Bounce | None:
    """By the shapes that flufl.bounce knows, and without what the mail returns, which may be a report about another.
    Its log would quote what it stumbled over."""
    logging.getLogger("flufl.bounce").disabled = True
    if mail.is_multipart():
        mail.set_payload([part for part in _parts(mail) if part.get_content_maintype() != "message"])
    temporary, permanent = all_failures(mail)
    action, found = ("failed", permanent) if permanent else ("delayed", temporary)
    addresses = frozenset(each.decode(errors="replace") for each in sorted(found)[:MOST])
    if not addresses:
        return None
    reply = _REPLY.search(_text(mail))
    diagnostic = clean(reply[1].strip(), *addresses) if reply else ""
    status = _STATUS.search(diagnostic)
    fits = status is not None and status[1] == ("5" if action == "failed" else "4")
    return Bounce(action, status[0] if status and fits else _unstated(action), diagnostic if fits else "", addresses)


def _text(mail: Message) -> str:
    """What the mail says to a person, before what it returns."""
    part = next((each for each in [mail, *_parts(mail)] if each.get_content_maintype() == "text"), None)
    octets = part.get_payload(decode=True) if part is not None else b""
    return octets.decode("utf-8", "replace") if isinstance(octets, bytes) else ""
