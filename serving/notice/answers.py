"""Recipients' answers, passed on to whoever sent what they answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from serving.addresses import own_domain
from serving.answering import answered_at
from serving.identifiers import format_id
from serving.mail import split
from serving.notice.forwarding import Answered, forward
from serving.notice.letter import write_not_passed_on
from serving.pipeline import NotPassedOn, PassedOn
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work

KIND = "answer"
GONE = "that mail was deleted here, its time is over"
NOBODY = "that mail names nobody who can be written to"
UNREADABLE = "it cannot be read here"


class Reader(Protocol):
    """What this asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


class Writer(Protocol):
    """Writes a mail of ours about the work, once for each kind; returns its notification's id."""

    async def __call__(
        self, work: Work, kind: str, recipient: bytes, address: str, letter: bytes, *, is_open: bool
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens the mail that is answered, and what turns its sender's address into a lookup."""

    content: UnsealingKey
    lookup: LookupKey


class Answers:
    """Turns an answer into a mail to the sender. It travels open, as it came to us, unless that one is enrolled with a
    certificate: then it is sealed as any mail is."""

    def __init__(self, client: Reader, keys: Keys, mail_from: str, clock: Callable[[], float], write: Writer) -> None:
        self._client = client
        self._keys = keys
        self._mail_from = mail_from
        self._clock = clock
        self._write = write

    async def handle(self, work: Work) -> PassedOn | NotPassedOn:
        """PassedOn, or NotPassedOn where nobody can be told, which its writer then is.

        Raises:
            Unsealable: the answer or what it answers is sealed for another key or was altered.
        """
        answered = await self._answered(str(work.facts["answer"]))
        if isinstance(answered, str):
            return await self._tell(work, answered)
        letter = await asyncio.to_thread(self._letter, work, answered)
        if letter is None:
            return await self._tell(work, UNREADABLE)
        recipient = self._keys.lookup.address(answered.goes_to)
        return PassedOn(await self._write(work, KIND, recipient, answered.goes_to, letter, is_open=True))

    async def _answered(self, about: str) -> Answered | str:
        """The mail that is answered; why there is none to write to, where that is so."""
        rows = await self._client.query("notification", id=about)
        bodies = await self._client.query("body", message=rows[0]["message"]) if rows else []
        if not bodies or not bodies[0]["body"]:
            return GONE
        return await asyncio.to_thread(self._read, int(about), rows[0]["facts"], bytes.fromhex(bodies[0]["body"]))

    def _read(self, about: int, facts: dict[str, Any], body: bytes) -> Answered | str:
        raw = self._keys.content.unseal(body)
        goes_to, mail = answered_at(raw, facts, self._mail_from), split(raw)
        if not goes_to or mail is None:
            return NOBODY
        return Answered(f"<{format_id(about)}@{own_domain(self._mail_from)}>", mail.message_id, goes_to)

    def _letter(self, work: Work, answered: Answered) -> bytes | None:
        answer = split(self._keys.content.unseal(work.body))
        if answer is None:
            return None
        return forward(answer, self._keys.content.unseal(work.address).decode(), self._mail_from, answered)

    async def _tell(self, work: Work, reason: str) -> NotPassedOn:
        address = self._keys.content.unseal(work.address).decode()
        answer = split(self._keys.content.unseal(work.body))
        message_id = "" if answer is None else answer.message_id
        now = datetime.fromtimestamp(self._clock(), UTC)
        letter = write_not_passed_on(reason, message_id, self._mail_from, address, now)
        told = await self._write(work, "not_passed_on", work.recipient, address, letter, is_open=True)
        return NotPassedOn(reason, told)
