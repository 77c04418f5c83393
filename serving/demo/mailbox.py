"""The mails of a demo: the sample's in its own order, or the newest of a real mailbox that the champion never saw."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.containers import Damage, MailboxError, RawMail, raw_mails
from data.parse import Unreadable, parse
from data.schema import Message
from serving.demo.cast import SAMPLE
from serving.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to submit: its octets, and what could be read of them (None: nothing)."""

    raw: bytes
    message: Message | None


def sample_mail() -> list[Mail]:
    """All mails of the shipped mailbox."""
    return list(_parsed(raw_mails(SAMPLE / "mailbox.mbox")))


def newest(path: Path, limit: int, since: float, now: float) -> list[Mail]:
    """The `limit` newest readable mails dated after `since` and not in the future (seconds since the epoch), oldest
    first; the mailbox is streamed.

    Raises:
        ConfigurationError: there is no such mailbox, or it holds none that is new enough.
    """
    try:
        mails = raw_mails(path)
    except MailboxError as error:
        raise ConfigurationError(f"{error}; give MAIL an mbox, a Maildir or a tar of mails") from None
    kept: list[tuple[float, int, Mail]] = []
    for number, mail in enumerate(_parsed(mails)):
        if mail.message is not None and since < mail.message.date <= now:
            push = heapq.heappush if len(kept) < limit else heapq.heappushpop
            push(kept, (mail.message.date, number, mail))
    if not kept:
        raise ConfigurationError(f"{path.name} holds no mail that is newer than the champion's training data")
    return [mail for _, _, mail in sorted(kept, key=lambda each: each[:2])]


def _parsed(mails: Iterable[RawMail | Damage]) -> Iterable[Mail]:
    for mail in mails:
        if isinstance(mail, Damage):
            continue
        try:
            yield Mail(mail.raw, parse(mail.raw))
        except Unreadable:
            yield Mail(mail.raw, None)
