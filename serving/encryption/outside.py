"""What anybody on the way can read: the fields of our own that stand around or above a mail."""

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from serving.addresses import domain_of

Fields = tuple[tuple[str, str], ...]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Outside:
    """A notification as the world may see it: `id` its public id, `mail_from` the gateway, `date` when accepted."""

    id: str
    mail_from: str
    rcpt_to: str
    date: datetime

    @property
    def domain(self) -> str:
        """The gateway's domain."""
        return domain_of(self.mail_from) or "clarion.invalid"

    @property
    def message_id(self) -> str:
        """The same at every attempt, so that a receiver recognises a second delivery."""
        return f"<{self.id}@{self.domain}>"

    @property
    def header(self) -> Fields:
        """The header of a mail of our own, without Subject and MIME fields."""
        return (
            ("From", f"Clarion <{self.mail_from}>"),
            ("To", _CONTROL.sub("", self.rcpt_to)),
            ("Date", format_datetime(self.date)),
            ("Message-ID", self.message_id),
            ("Clarion-Notification", self.id),
            ("Auto-Submitted", "auto-generated"),
        )

    @property
    def trace(self) -> Fields:
        """The fields prepended to a mail that is not of our own (RFC 5321 section 4.4)."""
        received = f"by {self.domain} (Clarion) id {self.id}; {format_datetime(self.date)}"
        return (("Received", received), ("Clarion-Notification", self.id))


def write(fields: Fields) -> bytes:
    """The fields as they stand in a mail."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
