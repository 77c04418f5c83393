"""A mail as JSON, and the RFC 5322 mail that is made of it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, getaddresses

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from serving.addresses import canonical_domain, domain_of
from serving.gateway.problems import problem

_FIELD_NAME = re.compile(r"[!-9;-~]{1,70}")
_DOT_ATOM = re.compile(r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]+(\.[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]+)*")
_QUOTED = re.compile(r"\"(?:[^\"\\\x00-\x1f\x7f]|\\[ -~])*\"")
_LONGEST_ADDRESS, _LONGEST_LOCAL_PART = 254, 64
_ADDRESSING = {"from", "sender", "to", "cc", "bcc", "return-path", "received"}
_IDENTITY = {"subject", "date", "message-id", "in-reply-to", "references", "mime-version"}
_OURS = _ADDRESSING | _IDENTITY | {"dkim-signature", "authentication-results"}


class Mail(BaseModel):
    """What a program wants said; addresses may carry a name (`Ada <ada@example.org>`)."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    sender: str = Field(alias="from")
    to: list[str] = Field(default_factory=list)
    cc: list[str] = Field(default_factory=list)
    subject: str
    text: str
    html: str | None = None
    date: AwareDatetime | None = None
    message_id: str | None = None
    in_reply_to: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)

    @field_validator("to", "cc", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


class Question(Mail):
    """A mail and the one recipient for whom it shall be judged."""

    recipient: str


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A name, empty for none, and a bare address."""

    name: str
    address: str

    def __str__(self) -> str:
        """As a header wants it: the name as RFC 2047 and the domain as A-labels where they are not ASCII."""
        local, _, domain = self.address.rpartition("@")
        address = f"{local}@{domain if domain.isascii() else canonical_domain(domain)}"
        return formataddr((self.name, "-")).removesuffix("<->") + f"<{address}>" if self.name else address


def mailbox(text: str) -> Mailbox:
    """What `Name <address>` or a bare address says.

    Raises:
        Problem: 422, it is no address (RFC 5321 4.1.2; a domain of two labels or more).
    """
    found = getaddresses([text])
    if len(found) != 1 or not text.isprintable() or not is_address(found[0][1]):
        raise problem(422, "bad_address", "one of the addresses is no address", "write each as name@example.org")
    return Mailbox(*found[0])


def is_address(address: str) -> bool:
    """Whether mail could be sent to it."""
    local = address.rpartition("@")[0]
    return (
        len(address) <= _LONGEST_ADDRESS
        and 0 < len(local) <= _LONGEST_LOCAL_PART
        and domain_of(address) is not None
        and bool(_DOT_ATOM.fullmatch(local) or _QUOTED.fullmatch(local))
    )


def compose(mail: Mail, *, now: float, message_id: str) -> bytes:
    """The mail in RFC 5322, CRLF; `now` (seconds since the epoch) and `message_id` stand in where it names none.

    Raises:
        Problem: 422, an address or a header that cannot be written.
    """
    addressing = _addressing(mail)
    message = EmailMessage(policy=SMTP)
    try:
        _write_headers(message, mail, now, message_id)
        message.set_content(mail.text)
        if mail.html is not None:
            message.add_alternative(mail.html, subtype="html")
        return addressing + message.as_bytes()
    except (ValueError, MessageError, UnicodeError, IndexError):
        raise problem(
            422, "bad_header", "a header cannot be written as mail", "no line breaks or control characters in headers"
        ) from None


def _addressing(mail: Mail) -> bytes:
    """From, To and Cc, an address a line: the standard library folds ten thousand addresses in ten seconds."""
    fields = (("From", [mail.sender]), ("To", mail.to), ("Cc", mail.cc))
    lines = (f"{name}: " + ",\r\n ".join(str(mailbox(text)) for text in texts) for name, texts in fields if texts)
    return "".join(f"{line}\r\n" for line in lines).encode()


def _write_headers(message: EmailMessage, mail: Mail, now: float, message_id: str) -> None:
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(mail.date or datetime.fromtimestamp(now, UTC))
    message["Message-ID"] = _bracketed(mail.message_id or message_id)
    if mail.in_reply_to:
        message["In-Reply-To"] = message["References"] = _bracketed(mail.in_reply_to)
    for name, value in mail.headers.items():
        message[_free_name(name)] = value


def _bracketed(message_id: str) -> str:
    return f"<{message_id.strip().strip('<>')}>"


def _free_name(name: str) -> str:
    if not _FIELD_NAME.fullmatch(name) or name.lower() in _OURS or name.lower().startswith("content-"):
        raise problem(422, "bad_header", "`headers` names one that is ours to write, or none", "use the field for it")
    return name
