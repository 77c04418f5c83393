"""What recipients write to the addresses of ours in Reply-To: kept, for the stage that passes it on, before 250.

Nothing is opened here. That From is the recipient's own address is told by its lookup; MAIL FROM proves nothing more.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

from serving.answering import people_in
from serving.automatic import is_automatic
from serving.intake.replies import NO_SUCH_ADDRESS, Refusal
from serving.mail import Mail, split
from serving.origin import LONGEST_ADDRESS
from serving.return_addresses import Returned
from serving.sealing import LookupKey, SealingKey

PATIENCE = 30.0
"""Seconds until the broker must have answered."""

UNREADABLE = "550 5.6.0 No header that can be read, or one larger than 1 MiB"
NOT_ONE_SENDER = "550 5.6.0 An answer has one From with one address (RFC 5322 section 3.6.2)"
NOT_THEIRS = (
    "550 5.7.1 This address takes answers from the one whom the mail was for; answer from the address that got it, or "
    "write to its sender directly"
)
TOO_MANY = "450 4.7.1 Too many answers to this mail today; write to its sender directly"

_TRACE = frozenset({"return-path", "received"})
_STATES = {"unknown": NO_SUCH_ADDRESS, "not_theirs": NOT_THEIRS, "too_many": TOO_MANY}


class Store(Protocol):
    """What this asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Answer:
    """The parameters of the command: who wrote, sealed what, and by what a repetition is known; hexadecimal."""

    recipient: str
    address: str
    body: str
    digest: str


class Answers:
    """Keeps answers; it holds the public content key alone."""

    def __init__(self, store: Store, content: SealingKey, lookup: LookupKey, *, patience: float = PATIENCE) -> None:
        self._store = store
        self._content = content
        self._lookup = lookup
        self._patience = patience

    async def __call__(self, returned: Returned, mail: bytes) -> None:
        """Keep the mail as an answer to that notification; once it returns, that is durable. What a machine wrote is
        taken and nothing comes of it.

        Raises:
            Refusal: it is no answer of the recipient's, or there were too many.
            BrokerUnavailable: it was not kept, or nobody knows.
            TimeoutError: the same.
            Refused: the broker does not take it.
        """
        answer = await asyncio.to_thread(self._read, mail)
        if answer is None:
            return
        state = await self._keep(returned.notification, answer)
        if state in _STATES:
            raise Refusal(_STATES[state])

    def _read(self, raw: bytes) -> _Answer | None:
        """None for what a machine wrote."""
        mail = split(raw)
        if mail is None:
            raise Refusal(UNREADABLE)
        if is_automatic(raw, mail):
            return None
        address = _sender(mail)
        seal, lookup = self._content.seal, self._lookup
        digest = lookup.counter(f"answer\n{_hash(mail)}")
        return _Answer(lookup.address(address).hex(), seal(address.encode()).hex(), seal(raw).hex(), digest.hex())

    async def _keep(self, notification: int, answer: _Answer) -> str:
        """Whose it is, is asked first: what strangers write to an address that they have seen costs the broker nothing
        of its size."""
        async with asyncio.timeout(self._patience):
            rows = await self._store.query("notification", id=str(notification))
            if not rows or rows[0]["recipient"] != answer.recipient:
                return "not_theirs" if rows else "unknown"
            kept = await self._store.execute(
                "answer",
                id=str(notification),
                recipient=answer.recipient,
                address=answer.address,
                body=answer.body,
                digest=answer.digest,
            )
        return str(kept["state"])


def _sender(mail: Mail) -> str:
    """The one address in From; two would let somebody answer in another's name."""
    people = [people_in(field.value) for field in mail.fields if field.name == "from"]
    if len(people) != 1 or len(people[0]) != 1:
        raise Refusal(NOT_ONE_SENDER)
    ((_, address),) = people[0]
    if len(address.encode()) > LONGEST_ADDRESS:
        raise Refusal(NOT_ONE_SENDER)
    return address


def _hash(mail: Mail) -> str:
    """Of what stays the same when a mail is sent again: all but how it came."""
    digest = hashlib.sha256()
    for field in mail.fields:
        if field.name not in _TRACE:
            digest.update(field.octets + b"\r\n")
    digest.update(b"\r\n" + mail.body)
    return digest.hexdigest()
