"""A recipient's answer as its sender gets it: the body as it was written, below a header of ours.

Nothing of how the answer came to us is carried over (Received, DKIM-Signature, Bcc, and To, which holds our address of
proof). What it answers is named by the sender's own Message-ID, so that its ticket finds together.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from serving.answering import named, people_in
from serving.mail import MESSAGE_ID, Mail

MOST_REFERENCES = 30

_KEPT = ("date", "subject", "message-id", "mime-version")


@dataclass(frozen=True, slots=True)
class Answered:
    """The mail that is answered: under which Message-ID we sent it, that of its sender (empty where it has none), and
    the bare address that the answer goes to."""

    ours: str
    theirs: str
    goes_to: str


def forward(answer: Mail, person: str, mail_from: str, answered: Answered) -> bytes:
    """The answer of the person with that bare address; RFC 5322 octets. Whoever answers it writes to that person."""
    people = people_in(answer.first("from"))
    name = next((name for name, _ in people if name), person)
    head = (
        f"From: {named(name, mail_from)}",
        f"Reply-To: {person}",
        f"To: {answered.goes_to}",
        *_thread(answer, answered),
    )
    return b"\r\n".join([*map(str.encode, head), *_kept(answer), b"", answer.body])


def _thread(answer: Mail, answered: Answered) -> Iterable[str]:
    """What it answers, in the words of whoever gets it (RFC 5322 section 3.6.4)."""
    before = list(_mapped(answer.first("references"), answered))
    parent = [answered.theirs] if answered.theirs else list(_mapped(answer.first("in-reply-to"), answered))[:1]
    references = list(dict.fromkeys([*(each for each in before if each not in parent), *parent]))
    references = references[:1] + references[1:][-MOST_REFERENCES + 1 :]
    if parent:
        yield f"In-Reply-To: {parent[0]}"
    if references:
        yield "References: " + "\r\n ".join(references)


def _mapped(value: bytes, answered: Answered) -> Iterable[str]:
    for each in map(bytes.decode, MESSAGE_ID.findall(value)):
        yield answered.theirs if answered.theirs and each.lower() == answered.ours.lower() else each


def _kept(answer: Mail) -> Iterable[bytes]:
    """The first of each field that is kept, and all that tell how to read the body."""
    seen: set[str] = set()
    for field in answer.fields:
        if field.name.startswith("content-") or (field.name in _KEPT and field.name not in seen):
            seen.add(field.name)
            yield field.octets
