"""The mails of a demo: the sample's in its own order, or the newest of a real mailbox that the champion never saw."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data.containers import Damage, MailboxError, raw_mails
from data.inbox import InboxError
from data.parse import Unreadable, parse
from data.readers import BadMail
from data.schema import Message
from serving.demo.cast import SAMPLE
from serving.errors import ConfigurationError

KINDS = "give MAIL an mbox, a Maildir, a public-inbox or a tar of mails"

Aside = Callable[[BadMail], None]
"""Keeps what cannot be read, and counts it."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to submit: its octets, and what could be read of them (None: nothing)."""

    raw: bytes
    message: Message | None


def sample_mail() -> list[Mail]:
    """All mails of the shipped mailbox, those that no parser likes among them: the gateway has to bear them."""
    found = (mail for mail in raw_mails(SAMPLE / "mailbox.mbox") if not isinstance(mail, Damage))
    return [Mail(mail.raw, _message(mail.raw)) for mail in found]


def newest(path: Path, limit: int, since: float, now: float, aside: Aside) -> list[Mail]:
    """The `limit` newest readable mails dated after `since` and not in the future (seconds since the epoch), oldest
    first. The mailbox is streamed; what cannot be read goes to `aside`.

    Raises:
        ConfigurationError: there is no such mailbox, or it holds none that is new enough.
    """
    count, kept = 0, list[tuple[float, int, Mail]]()
    for count, (mail, date) in enumerate(_readable(path, aside), 1):
        if since < date <= now:
            push = heapq.heappush if len(kept) < limit else heapq.heappushpop
            push(kept, (date, count, mail))
    if count == 0:
        raise ConfigurationError(f"{path} holds no mail that can be read; {KINDS}")
    if not kept:
        day = datetime.fromtimestamp(since, UTC).date()
        raise ConfigurationError(
            f"{path} holds no mail from after {day}, where the champion's training data ends (read: {count}); "
            "give MAIL a newer mailbox"
        )
    return [mail for _, _, mail in sorted(kept, key=lambda each: each[:2])]


def _readable(path: Path, aside: Aside) -> Iterator[tuple[Mail, float]]:
    """Every mail that can be read, and its date."""
    try:
        for found in raw_mails(path):
            if isinstance(found, Damage):
                aside(BadMail(found.origin, found.reason))
            elif (message := _message(found.raw)) is None:
                aside(BadMail(found.origin, "not a mail", found.raw))
            else:
                yield Mail(found.raw, message), message.date
    except (MailboxError, InboxError) as error:
        raise ConfigurationError(f"{error}; {KINDS}") from None


def _message(raw: bytes) -> Message | None:
    try:
        return parse(raw)
    except Unreadable:
        return None
