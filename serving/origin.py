"""Whom to tell what became of a mail, and what they asked to be told (RFC 3461).

Reports go to nobody who has not proven who they are: a report to a made-up sender is spam of ours (backscatter).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from data.parse import sender
from serving.addresses import canonical_address, domain_of, is_within
from serving.envelope import Event, Request, SmtpEnvelope, envelope_of
from serving.mail import Mail, split
from serving.sealing import LookupKey
from serving.trace import stamped
from serving.values import flat

LONGEST_ADDRESS = 254
"""Octets that SMTP carries (RFC 5321, 4.5.3.1.3)."""
LONGEST_FIELD = 2_000
"""Octets of a header field that is told back."""

Action = Literal["failed", "delayed", "relayed", "delivered"]
"""What became of a mail (RFC 3464 section 2.3.3)."""
REPORTS: frozenset[str] = frozenset({"failed", "delayed", "relayed", "delivered"})

_EVENTS: Mapping[Action, Event] = {
    "failed": "failure",
    "delayed": "delay",
    "relayed": "success",
    "delivered": "success",
}
_DEFAULT: tuple[Event, ...] = ("failure", "delay")
_NAMING = ("from", "to", "date", "message-id")


@dataclass(frozen=True, slots=True)
class Origin:
    """The sender's bare address and its lookup (hexadecimal), and its mail as it may be named in the open: `header`
    holds From, To, Date and Message-ID, nothing of what it says. The rest is as in SmtpEnvelope."""

    to: str
    lookup: str
    message_id: str
    header: str
    envelope_id: str | None = None
    returns: str | None = None
    notify: tuple[str, ...] | None = None
    original: str | None = None

    def wants(self, action: Action) -> bool:
        """Whether the sender is to be told of it; who asked for nothing is told of failure and delay."""
        return _EVENTS[action] in (_DEFAULT if self.notify is None else self.notify)

    def tree(self) -> dict[str, Any]:
        """As JSON holds it, for `read_origin`."""
        return flat(self)


def read_origin(tree: Any) -> Origin | None:
    """What `tree` gave; None for None. Raises TypeError or KeyError where it is neither."""
    if tree is None:
        return None
    notify = tree["notify"]
    return Origin(**{**tree, "notify": None if notify is None else tuple(notify)})


def origin_of(raw: bytes, facts: Mapping[str, Any], recipient: str, ours: str, lookup: LookupKey) -> Origin | None:
    """Whom to tell what becomes of the stored mail for that recipient, None where nobody is to be told.

    By SMTP it is MAIL FROM, if that domain is proven; else the From of a mail that is no answer itself. `ours` is our
    own address.
    """
    if facts.get("authentication", {}).get("outcome") != "authenticated" or "notice" in facts:
        return None
    mail = split(raw)
    if mail is None:
        return None
    envelope = envelope_of(raw, recipient) or _relayed(raw)
    if envelope is None:
        to, envelope = "" if is_answer(mail) else sender_of(raw), SmtpEnvelope("")
    else:
        to = envelope.mail_from if _is_proven(envelope.mail_from, sender_of(raw), facts) else ""
    if not is_writable(to, ours):
        return None
    message_id = mail.first("message-id").decode("ascii", "replace").strip()
    asked = envelope.request
    return Origin(
        to,
        lookup.address(to).hex(),
        message_id,
        _naming(mail),
        envelope.envelope_id,
        envelope.returns,
        asked.notify,
        asked.original,
    )


def is_writable(address: str, ours: str) -> bool:
    """Whether there is somebody to write to at all, who is not ourselves."""
    if domain_of(address) is None or len(address.encode(errors="replace")) > LONGEST_ADDRESS:
        return False
    return canonical_address(address) != canonical_address(ours)


def sender_of(raw: bytes) -> str:
    """The address that the mail names as its sender's; empty where it names none."""
    header = raw.partition(b"\r\n\r\n")[0] if b"\r\n\r\n" in raw else raw.partition(b"\n\n")[0]
    return sender(header + b"\r\n\r\n")


def is_answer(mail: Mail) -> bool:
    """Whether a notice about it could begin a loop: an answer, a bounce, a list's mail, or another Clarion's.

    Alerts are `auto-generated` by their nature, and who sends them wants to know (RFC 3834 section 2 is about answers).
    """
    names = {field.name for field in mail.fields}
    automatic, precedence = (mail.first(name).lower() for name in ("auto-submitted", "precedence"))
    return (
        bool(names & {"list-id", "clarion-notification"})
        or automatic.startswith((b"auto-replied", b"auto-notified"))
        or precedence in (b"bulk", b"junk", b"list")
        or ("return-path" in names and mail.first("return-path") == b"<>")
    )


def _relayed(raw: bytes) -> SmtpEnvelope | None:
    """What a relay said, over HTTP, that it had the mail from."""
    path = stamped(raw).mail_from
    return None if path is None else SmtpEnvelope(path, request=Request())


def _is_proven(path: str, sender: str, facts: Mapping[str, Any]) -> bool:
    """Whether MAIL FROM is of whom authentication was about: within the domain of From, or proven itself by SPF.

    Anybody can write another's address there, and a report would go to that one.
    """
    domain, proven = domain_of(path), domain_of(sender)
    if domain is None:
        return False
    if "spf=pass" in str(facts["authentication"].get("found", "")).split():
        return True
    return proven is not None and is_within(domain, proven)


def _naming(mail: Mail) -> str:
    """The fields by which a sender knows its mail, each once; they say nothing of what it says."""
    first = {field.name: field for field in reversed(mail.fields) if field.name in _NAMING}
    kept = [first[name].octets for name in _NAMING if name in first and len(first[name].octets) <= LONGEST_FIELD]
    return "".join(f"{octets.decode(errors='replace')}\r\n" for octets in kept)
