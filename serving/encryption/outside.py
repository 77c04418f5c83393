"""What anybody on the way can read: the fields of our own that stand around or above a mail."""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from serving.addresses import own_domain
from serving.moments import written

Fields = tuple[tuple[str, str], ...]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Outside:
    """A notification as the world may see it: `id` its public id, `mail_from` the gateway, `date` when accepted.

    `reply_to` is an address of ours for its recipient's answers, empty where there is none; `is_automatic` is false
    where we pass on what a person wrote. Only a digest has fields that are its own (`more`).
    """

    id: str
    mail_from: str
    rcpt_to: str
    date: datetime
    more: Fields = ()
    reply_to: str = ""
    is_automatic: bool = True

    @property
    def domain(self) -> str:
        """The gateway's domain."""
        return _domain(self.mail_from)

    @property
    def message_id(self) -> str:
        """The same at every attempt, so that a receiver recognises a second delivery."""
        return f"<{self.id}@{self.domain}>"

    @property
    def header(self) -> Fields:
        """The header of a mail of our own, without Subject and MIME fields."""
        return (
            ("From", f"Clarion <{self.mail_from}>"),
            ("To", self.rcpt_to if self.rcpt_to.isprintable() else _CONTROL.sub("", self.rcpt_to)),
            ("Date", written(self.date)),
            ("Message-ID", self.message_id),
            ("Clarion-Notification", self.id),
            *([("Reply-To", self.reply_to)] if self.reply_to else []),
            *([("Auto-Submitted", "auto-generated")] if self.is_automatic else []),
            *self.more,
        )

    @property
    def trace(self) -> Fields:
        """The fields prepended to a mail that is not of our own (RFC 5321 section 4.4)."""
        received = f"by {self.domain} (Clarion) id {self.id}; {written(self.date)}"
        return (("Received", received), ("Clarion-Notification", self.id))


def write(fields: Fields, before: str = "") -> bytes:
    """The fields as they stand in a mail, each with `before` in front of its name."""
    return "".join([f"{before}{name}: {value}\r\n" for name, value in fields]).encode()


@lru_cache(maxsize=16)
def _domain(mail_from: str) -> str:
    """The gateway's; it has one address, or a few."""
    return own_domain(mail_from)
