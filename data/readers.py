"""A mailbox of any kind as a stream of `Message`; a bad mail is kept aside and counted, never the end of the run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from data.containers import Damage, raw_mails
from data.parse import Unreadable, parse
from data.schema import Message


@dataclass(frozen=True, slots=True)
class BadMail:
    """A mail, or the rest of a damaged file, that could not be read: where it lay, why, and what octets there are."""

    origin: str
    reason: str
    raw: bytes = b""


@dataclass
class Aside:
    """Keeps bad mails in a folder, made with the first of them, and counts them."""

    folder: Path
    reasons: list[str] = field(default_factory=list)

    def __call__(self, bad: BadMail) -> None:
        """Keeps the octets as `<n>.eml` and a line about them in `reasons.txt`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.reasons.append(f"{bad.origin}: {bad.reason}")
        number = len(self.reasons)
        (self.folder / f"{number:06}.eml").write_bytes(bad.raw)
        with (self.folder / "reasons.txt").open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{number:06}.eml\t{self.reasons[-1]}\n")


def read(path: Path, aside: Callable[[BadMail], None], *, source: str = "") -> Iterator[Message]:
    """The mails of a mailbox, in its own order; what cannot be read goes to `aside`.

    `source` names the list where a mail names none. Raises data.containers.MailboxError and data.inbox.InboxError.
    """
    for found in raw_mails(path):
        if isinstance(found, Damage):
            aside(BadMail(found.origin, found.reason))
            continue
        try:
            message = parse(found.raw, source=source)
        except Unreadable as error:
            aside(BadMail(found.origin, str(error), found.raw))
            continue
        yield replace(message, commit=found.commit) if found.commit else message
