"""An invented mailbox to practise on: six colleagues who answer what asks and pass over what tells, and two machines.

Nothing in it is real, and what a model reaches on it means nothing: the answers follow a rule of three lines.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

import numpy as np

PEOPLE = ("Ada Brandt", "Ben Okoro", "Chloe Marin", "Dev Anand", "Emil Novak", "Farah Aziz")
MACHINES = (("Monitor", "alerts@monitor.example"), ("Weekly News", "noreply@news.example"))
START = datetime(2026, 3, 2, 8, tzinfo=UTC)
EVERY = timedelta(hours=6)  # between two opening mails

_MATTERS = ("backup", "invoice", "release", "contract", "database", "timetable", "printer", "budget", "survey", "door")
_ASKING = (
    ("The {matter} is stuck", "Could you look at the {matter} now? I cannot go on without it."),
    ("{matter}: your decision", "We have to answer the customer today. Do you agree with the {matter}?"),
    ("Help with the {matter}", "The {matter} fails since this morning. Can you tell me what to do, please?"),
)
_TELLING = (
    ("Notes on the {matter}", "Here are the notes on the {matter}, for whenever you like to read them."),
    ("{matter}, as expected", "The {matter} went as expected. Nothing is left to do."),
    ("A thought about the {matter}", "Some day we might write the {matter} anew. It can wait."),
)
_MACHINE = (
    ("{matter}: usage report", "The {matter} was used {number} times last week."),
    ("News about the {matter}", "Ten things about the {matter} that you did not know."),
)


def write_mailbox(file: Path, mails: int, seed: int = 0) -> int:
    """Writes an mbox with that many opening mails and the answers to them; returns how many in all."""
    raw = [mail.as_bytes(unixfrom=True) for mail in invented_mails(mails, seed)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\n".join(raw))
    return len(raw)


def invented_mails(mails: int, seed: int = 0) -> Iterator[EmailMessage]:
    """Opening mails six hours apart, each followed by its answers, which are hours later; the same for one seed.

    Every fifth mail is a machine's. Of the others two in five ask, and whoever stands in To answers most of those
    within a day; of the rest nearly nothing is answered.
    """
    random = np.random.default_rng(seed)
    for number in range(mails):
        if number % 5 == 4:
            yield _by_machine(number, random)
            continue
        asks = bool(random.random() < 0.4)
        mail, to = _by_person(number, asks, random)
        yield mail
        chance = 0.85 if asks else 0.06
        yield from (_answer(mail, name, random) for name in to if random.random() < chance)


def _by_person(number: int, asks: bool, random: np.random.Generator) -> tuple[EmailMessage, list[str]]:
    """A colleague's mail, and the names in its To."""
    sender, *others = random.permutation(PEOPLE)[: random.integers(2, 6)].tolist()
    to, cc = others[: 1 + number % 2], others[1 + number % 2 :]
    subject, words = _worded(_ASKING if asks else _TELLING, number, random)
    greeting = f"Hi {to[0].split()[0]},\n\n" if random.random() < 0.5 else ""
    mail = _mail(f"{number}", START + number * EVERY, _mailbox(sender), subject, f"{greeting}{words}\n\n{sender}\n")
    mail["To"] = ", ".join(map(_mailbox, to))
    if cc:
        mail["Cc"] = ", ".join(map(_mailbox, cc))
    return mail, to


def _by_machine(number: int, random: np.random.Generator) -> EmailMessage:
    name, address = MACHINES[number % len(MACHINES)]
    subject, words = _worded(_MACHINE, number, random)
    mail = _mail(f"{number}", START + number * EVERY, f"{name} <{address}>", subject, f"{words}\n")
    mail["To"] = ", ".join(map(_mailbox, random.permutation(PEOPLE)[:2].tolist()))
    mail["Auto-Submitted"] = "auto-generated"
    return mail


def _answer(mail: EmailMessage, name: str, random: np.random.Generator) -> EmailMessage:
    """What somebody writes back to the sender, one time in eight later than a day."""
    hours = float(random.uniform(25, 60) if random.random() < 0.125 else random.uniform(0.2, 9))
    local = f"{name.split()[0].lower()}.{str(mail['Message-ID']).strip('<>').partition('@')[0]}"
    quoted = "".join(f"> {line}\n" for line in mail.get_content().splitlines())
    words = f"{mail['From']} wrote:\n{quoted}\nI have seen to it.\n\n{name}\n"
    moment = mail["Date"].datetime + timedelta(hours=hours)
    answer = _mail(local, moment, _mailbox(name), f"Re: {mail['Subject']}", words)
    answer["To"] = mail["From"]
    answer["In-Reply-To"] = mail["Message-ID"]
    return answer


def _worded(pairs: tuple[tuple[str, str], ...], number: int, random: np.random.Generator) -> tuple[str, str]:
    """One of the subjects with its words, about some matter; the number makes every mail another."""
    matter = _MATTERS[random.integers(len(_MATTERS))]
    subject, words = pairs[random.integers(len(pairs))]
    return f"{subject.format(matter=matter)} ({number})", words.format(matter=matter, number=number)


def _mail(local: str, moment: datetime, sender: str, subject: str, words: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = sender
    mail["Subject"] = subject
    mail["Date"] = format_datetime(moment.replace(microsecond=0))
    mail["Message-ID"] = f"<{local}@practice.example>"
    mail.set_content(words)
    mail.set_unixfrom(f"From practice@practice.example {moment:%a %b %d %H:%M:%S %Y}")
    return mail


def _mailbox(name: str) -> str:
    return f"{name} <{name.lower().replace(' ', '.')}@practice.example>"
