"""What a mail and its outcome are: the columns of every table in the project, as frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One mail as everything after the parser sees it.

    `date` is seconds since the epoch, UTC, 0.0 where the mail names none. Addresses are bare and lower-case. `body` is
    the visible text, quotes included, and may be cut; `body_len` is its true length in characters. `sender_id` is the
    person as far as the mail tells: the lower-cased display name, else the address. `commit` is where a public-inbox
    holds it.
    """

    list: str
    message_id: str
    date: float
    sender: str
    sender_name: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    in_reply_to: str | None
    body: str
    body_len: int
    content_type: str = "text/plain"
    auto_submitted: str = ""
    precedence: str = ""
    importance: str = ""
    commit: str = ""
    is_automated: bool = False
    is_patch: bool = False
    sender_id: str = ""

    @property
    def recipients(self) -> tuple[str, ...]:
        """Every address in To, then Cc, once each, without the sender."""
        return tuple(address for address in dict.fromkeys(self.to + self.cc) if address != self.sender)


@dataclass(frozen=True, slots=True)
class Interaction:
    """What one recipient did with one mail. `replied`, `replied_24h`, `reply_latency_h` (hours) and `reply_message_id`
    are outcomes: labels, never features."""

    list: str
    message_id: str
    recipient: str
    recipient_id: str
    role: str
    date: float
    n_recipients: int
    replied: bool
    replied_24h: bool
    reply_latency_h: float | None
    reply_message_id: str | None
    sender: str
    sender_id: str
    subject: str
    is_automated: bool
    is_patch: bool
