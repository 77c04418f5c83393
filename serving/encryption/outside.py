"""What anybody on the way can read: the fields of our own that stand around or above a mail."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from serving.addresses import own_domain

Fields = tuple[tuple[str, str], ...]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
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
            ("Date", _written(self.date)),
            ("Message-ID", self.message_id),
            ("Clarion-Notification", self.id),
            *([("Reply-To", self.reply_to)] if self.reply_to else []),
            *([("Auto-Submitted", "auto-generated")] if self.is_automatic else []),
            *self.more,
        )

    @property
    def trace(self) -> Fields:
        """The fields prepended to a mail that is not of our own (RFC 5321 section 4.4)."""
        received = f"by {self.domain} (Clarion) id {self.id}; {_written(self.date)}"
        return (("Received", received), ("Clarion-Notification", self.id))


def write(fields: Fields, before: str = "") -> bytes:
    """The fields as they stand in a mail, each with `before` in front of its name."""
    return "".join([f"{before}{name}: {value}\r\n" for name, value in fields]).encode()


def _written(date: datetime) -> str:
    """The moment in UTC as RFC 5322 section 3.3 wants it."""
    return _second_written(date.replace(microsecond=0))


@lru_cache(maxsize=64)
def _second_written(date: datetime) -> str:
    """Where mail is sealed by the thousand a second, a thousand have the same; the standard library's function takes
    several times as long as this one, which is seen beside the sealing of a small mail."""
    date = date.astimezone(UTC)
    day, clock = f"{_DAYS[date.weekday()]}, {date.day:02}", f"{date.hour:02}:{date.minute:02}:{date.second:02}"
    return f"{day} {_MONTHS[date.month - 1]} {date.year:04} {clock} +0000"


@lru_cache(maxsize=16)
def _domain(mail_from: str) -> str:
    """The gateway's; it has one address, or a few."""
    return own_domain(mail_from)
