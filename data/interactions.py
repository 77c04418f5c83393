"""Who replied to what, and when: the pairs of a mailbox with their outcomes, derived from the mails themselves."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from data.schema import Interaction, Message

HOUR, DAY = 3_600.0, 86_400.0
BEFORE, AFTER = 30 * DAY, 14 * DAY  # as in the benchmark: silence counts where the person is known to be there


def interactions(messages: Iterable[Message], *, posts: int = 20) -> Iterator[Interaction]:
    """One row for every (mail, explicit recipient) whose person wrote at least `posts` mails to the list.

    A reply is a mail of that person, from whatever address, that names this one in In-Reply-To; the first counts.
    A pair without a reply is kept only where the person wrote in the BEFORE and again in the AFTER the mail: silence of
    somebody absent says nothing. The rows come in the order of the mails; bodies are not kept.
    """
    mails = [replace(message, body="") for message in messages]
    people = _people(mails)
    habits = _habits(mails)
    replies = _replies(mails)
    for mail in mails:
        for person, recipient in _addressed(mail, people).items():
            written = habits.get((mail.list, person), [])
            reply = replies.get((mail.list, mail.message_id, person))
            if len(written) >= posts and (reply or _present(written, mail.date)):
                yield _interaction(mail, recipient, person, reply)


def _addressed(mail: Message, people: dict[str, str]) -> dict[str, str]:
    """The people whom the mail names, each with the first address it names them by; neither its author nor the list."""
    found: dict[str, str] = {}
    for recipient in mail.recipients:
        person = people.get(recipient)
        if person and person != mail.sender_id and recipient.partition("@")[0] != mail.list:
            found.setdefault(person, recipient)
    return found


def _people(mails: list[Message]) -> dict[str, str]:
    """Which person writes from an address: the name it is used with most often."""
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for mail in mails:
        names[mail.sender][mail.sender_id] += 1
    return {address: used.most_common(1)[0][0] for address, used in names.items()}


def _habits(mails: list[Message]) -> dict[tuple[str, str], list[float]]:
    """When each person wrote to each list, in order."""
    written: dict[tuple[str, str], list[float]] = defaultdict(list)
    for mail in mails:
        written[mail.list, mail.sender_id].append(mail.date)
    return {who: sorted(dates) for who, dates in written.items()}


def _replies(mails: list[Message]) -> dict[tuple[str, str, str], Message]:
    """The first reply of each person to each mail."""
    first: dict[tuple[str, str, str], Message] = {}
    for mail in mails:
        if mail.in_reply_to is None:
            continue
        key = (mail.list, mail.in_reply_to, mail.sender_id)
        if key not in first or mail.date < first[key].date:
            first[key] = mail
    return first


def _present(written: list[float], date: float) -> bool:
    """Whether the person wrote shortly before and shortly after."""
    at = bisect_left(written, date)
    return 0 < at < len(written) and date - written[at - 1] <= BEFORE and written[at] - date <= AFTER


def _interaction(mail: Message, recipient: str, person: str, reply: Message | None) -> Interaction:
    latency = (reply.date - mail.date) / HOUR if reply else None
    return Interaction(
        list=mail.list,
        message_id=mail.message_id,
        recipient=recipient,
        recipient_id=person,
        role="to" if recipient in mail.to else "cc",
        date=mail.date,
        n_recipients=len(mail.to) + len(mail.cc),
        replied=reply is not None,
        replied_24h=latency is not None and latency <= 24.0,
        reply_latency_h=latency,
        reply_message_id=reply.message_id if reply else None,
        sender=mail.sender,
        sender_id=mail.sender_id,
        subject=mail.subject,
        is_automated=mail.is_automated,
        is_patch=mail.is_patch,
    )
