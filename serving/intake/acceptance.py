"""Takes a mail in: stamped, sealed, and durable before the client hears 250."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from serving.envelope import Request, SmtpEnvelope, envelope_field
from serving.identifiers import format_id
from serving.intake.callers import Caller
from serving.intake.commands import Mail
from serving.intake.content import message_id, read_content
from serving.queue.client import Accepted, Recipient, Submission
from serving.sealing import LookupKey, SealingKey
from serving.trace import Trace, stamp

PATIENCE = 30.0
"""Seconds until the broker must have answered."""
SMALL = 64 << 10
"""Octets, and a few recipients: what is sealed sooner than a thread takes over."""
FEW = 8


class Publisher(Protocol):
    """What is asked of the broker."""

    async def accept(self, submission: Submission) -> Accepted: ...


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail whose envelope is known: from where and how it came, and what each recipient's RCPT asked, by address."""

    address: str
    came_by: Trace
    protocol: str
    mail: Mail
    requests: Mapping[str, Request]


class Acceptance:
    """Seals with the public key that it holds and opens nothing; `domain` is ours, `clock` seconds since the epoch."""

    def __init__(
        self,
        broker: Publisher,
        content: SealingKey,
        lookup: LookupKey,
        domain: str,
        clock: Callable[[], float],
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._broker = broker
        self._content = content
        self._lookup = lookup
        self._domain = domain
        self._clock = clock
        self._patience = patience

    async def take(self, letter: Letter, caller: Caller, mail: bytes) -> str:
        """The reply, once the store has committed.

        Raises:
            Refusal: the mail is not as SMTP has it.
            BrokerUnavailable: it was not kept, or nobody knows.
            TimeoutError: the same.
            Refused: the broker does not take it.
        """
        is_small = len(mail) <= SMALL and len(letter.requests) <= FEW
        arguments = letter, caller, mail
        submission = self._submission(*arguments) if is_small else await asyncio.to_thread(self._submission, *arguments)
        async with asyncio.timeout(self._patience):
            accepted = await self._broker.accept(submission)
        return f"250 2.0.0 accepted as {format_id(accepted.message_id)}"

    def stamped(self, letter: Letter, mail: bytes) -> bytes:
        """The mail with our trace fields above it. Raises Refusal, it is not as SMTP has it."""
        content = read_content(mail, self._domain)
        return self._stamp(letter) + content

    def _submission(self, letter: Letter, caller: Caller, mail: bytes) -> Submission:
        content = read_content(mail, self._domain)
        seal = self._content.seal
        noted = SmtpEnvelope(letter.mail.sender, letter.mail.envelope_id, letter.mail.returns)
        body = envelope_field(noted, letter.requests) + self._stamp(letter) + content
        recipients = (Recipient(self._lookup.address(each), seal(each.encode())) for each in letter.requests)
        digest, key = self._names(letter, caller, content)
        return Submission(caller.principal.id, seal(body), tuple(recipients), key, digest, key_each=True)

    def _names(self, letter: Letter, caller: Caller, content: bytes) -> tuple[bytes, str | None]:
        """The content's digest and the idempotency key; none without a Message-ID, for then it may be another mail.

        What we stamp is no part of them: a repetition comes at another time. Both tell nothing to who lacks the key.
        What a relay hands on is known by its address too: whoever got the same mail and sends it first, without the
        proofs of its sender, must not stand in that sender's way.
        """
        identity = message_id(content)
        digest = self._lookup.counter(f"smtp content\n{hashlib.sha256(content).hexdigest()}")
        if not identity:
            return digest, None
        origin = letter.address if caller.principal.relays else ""
        words = hashlib.sha256(b"\n".join((letter.mail.sender.encode(), identity, origin.encode(), digest)))
        key = self._lookup.counter(f"smtp key\n{words.hexdigest()}")
        return digest, f"smtp:{key.hex()}"

    def _stamp(self, letter: Letter) -> bytes:
        return stamp(letter.came_by, self._domain, datetime.fromtimestamp(self._clock(), UTC), letter.protocol)
