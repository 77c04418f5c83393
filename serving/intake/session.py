"""One SMTP connection from login to 250: who calls, whom it writes to, and the mail itself."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from serving.addresses import canonical_address
from serving.envelope import Request, size_of
from serving.intake import replies
from serving.intake.acceptance import Letter
from serving.intake.callers import Caller
from serving.intake.commands import Mail, Rcpt, read_mail, read_rcpt
from serving.intake.connection import Connection, decoded
from serving.intake.content import unstuffed
from serving.intake.parts import Parts
from serving.intake.reception import Reception
from serving.intake.replies import Refusal
from serving.return_addresses import Returned
from serving.trace import Trace, read_words

MOST_RECIPIENTS = 1_000
LARGEST_REQUESTS = 256 << 10
"""Octets of what is asked for all recipients of a mail: it lies in its header, of which at most 1 MiB is read."""
MOST_FAILED_LOGINS = 3
_ALL = 1 << 30  # octets that the reader holds: less, so that none stays behind in it


@dataclass(slots=True)
class Begun:
    """A mail that has begun: MAIL was said, recipients are collected by canonical address. `asked` is octets."""

    mail: Mail
    caller: Caller | None
    recipients: dict[str, tuple[str, Request]] = field(default_factory=dict)
    returned: Returned | None = None
    asked: int = 0


class Session(Connection):
    """Takes mail from whoever is known, and reports and answers from everybody."""

    def __init__(self, parts: Parts, sessions: "set[Session]") -> None:
        """It is one of `sessions` while its client is connected."""
        self._parts = parts
        self._sessions = sessions
        self.is_busy = False
        self._login: Caller | None = None
        self._failed_logins = 0
        self._is_near = False
        self._begun: Begun | None = None
        super().__init__(parts.hostname, parts.door, parts.patience, parts.tls, parts.largest)

    @property
    def is_trusted(self) -> bool:
        """See Connection."""
        return self._login is not None

    @property
    def extensions(self) -> list[str]:
        """See Connection; AUTH where nobody can read the key on its way."""
        offered = super().extensions
        return [*offered, "AUTH PLAIN LOGIN"] if self._may_log_in else offered

    @property
    def _may_log_in(self) -> bool:
        return self.is_encrypted or self._is_near

    def connection_made(self, transport: Any) -> None:
        """See Connection: after a TLS handshake nobody has logged in (RFC 3207 section 4.2)."""
        self._login = None
        super().connection_made(transport)
        if self._is_let_in:
            self._is_near = self._parts.is_near(self._address)
            self._sessions.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._sessions.discard(self)
        super().connection_lost(error)

    async def smtp_AUTH(self, arg: str | None) -> None:
        """RFC 4954: the password is an API key, the user's name anything."""
        self._need_greeting()
        if not self.is_extended or self._login is not None or self._begun is not None:
            raise Refusal("503 5.5.1 Log in once, after EHLO and before MAIL")
        if not self._may_log_in:
            raise Refusal("538 5.7.11 Encryption required: STARTTLS first")
        key = await self._password(arg or "")
        try:
            self._login = await self._parts.callers.log_in(key.decode(errors="replace"), self._address)
        except Refusal as refusal:
            self._failed_logins += 1
            if self._failed_logins >= MOST_FAILED_LOGINS:
                raise Refusal(f"421 4.7.0 {refusal.reply[10:]}; too many failed logins") from None
            raise
        await self.push("235 2.7.0 Logged in")

    async def smtp_MAIL(self, arg: str | None) -> None:
        """The sender, and whether it may send now."""
        self._need_greeting()
        if self._begun is not None:
            raise Refusal("503 5.5.1 A mail has begun already; RSET forgets it")
        mail = read_mail(arg, largest=self._parts.largest, is_extended=self.is_extended)
        caller = self._login or await self._parts.callers.by_network(self._address)
        if caller is not None:
            caller = await self._parts.callers.check(caller)
            self._parts.callers.charge(caller)
        self._begun = Begun(mail, caller)
        await self.push("250 2.1.0 OK")

    async def smtp_RCPT(self, arg: str | None) -> None:
        """One more recipient."""
        begun = self._begun
        if begun is None:
            raise Refusal("503 5.5.1 MAIL first")
        rcpt = read_rcpt(arg, is_utf8=begun.mail.is_utf8, is_extended=self.is_extended)
        if self._parts.addresses.claims(rcpt.recipient):
            self._add_returned(begun, rcpt.recipient)
        else:
            await self._add(begun, rcpt)
        await self.push("250 2.1.5 OK")

    async def smtp_DATA(self, arg: str | None) -> None:
        """The mail; 250 only once it is durable."""
        begun = self._begun
        if begun is None or not (begun.recipients or begun.returned):
            raise Refusal("503 5.5.1 MAIL and RCPT first")
        if arg:
            raise Refusal("501 5.5.4 DATA takes no argument")
        if not self._door.has_room():
            raise Refusal(replies.BUSY)
        await self.push("354 End the mail with <CRLF>.<CRLF>")
        reception = Reception(self._door, self._parts.largest, stranger=begun.caller is None)
        try:
            reply = await self._finish(begun, unstuffed(await self._read(reception)))
        finally:
            reception.let_go()
            self._set_post_data_state()
        self._idle_commands = 0
        await self.push(reply)

    def _set_post_data_state(self) -> None:
        """aiosmtpd's name for: there is no mail now."""
        super()._set_post_data_state()  # type: ignore[no-untyped-call]
        self._begun = None

    async def _password(self, arg: str) -> bytes:
        mechanism, _, initial = arg.partition(" ")
        if mechanism.upper() == "PLAIN":
            parts = (await self._first(initial, b"")).split(b"\0")
            if len(parts) != 3:
                raise Refusal("501 5.5.2 PLAIN has three parts (RFC 4616)")
            return parts[2]
        if mechanism.upper() == "LOGIN":
            await self._first(initial, b"User Name")
            return await self._ask(b"Password")
        raise Refusal("504 5.5.4 PLAIN or LOGIN")

    async def _first(self, initial: str, challenge: bytes) -> bytes:
        """The initial response, where there is one; `=` is an empty one."""
        if not initial:
            return await self._ask(challenge)
        return b"" if initial == "=" else decoded(initial.encode("ascii", "replace"))

    def _add_returned(self, begun: Begun, recipient: str) -> None:
        returned = self._parts.addresses.read(recipient)
        if returned is None or self._parts.returned is None:
            raise Refusal(replies.NO_SUCH_ADDRESS)
        if begun.recipients or begun.returned not in (None, returned):
            raise Refusal(replies.ONE_AT_A_TIME)
        begun.returned = returned

    async def _add(self, begun: Begun, rcpt: Rcpt) -> None:
        if begun.caller is None:
            raise Refusal(replies.NO_CALLER)
        if begun.returned is not None:
            raise Refusal(replies.ONE_AT_A_TIME)
        begun.asked += size_of(rcpt.recipient, rcpt.request)
        if len(begun.recipients) >= MOST_RECIPIENTS or begun.asked > LARGEST_REQUESTS:
            raise Refusal(replies.TOO_MANY_RECIPIENTS)
        if begun.caller.is_stranger and not await self._parts.is_enrolled(rcpt.recipient):
            raise Refusal(replies.NOT_ENROLLED)
        begun.recipients.setdefault(canonical_address(rcpt.recipient), (rcpt.recipient, rcpt.request))

    async def _read(self, reception: Reception) -> bytes:
        """The octets up to the end of the mail.

        Raises:
            Refusal: 552 or 452, once all of it has come; 421, it takes too long.
        """
        until = self.loop.time() + self._patience.mail
        rest = None
        while rest is None:
            octets = await self._reader.read(_ALL)
            if not octets:
                raise asyncio.CancelledError
            if self.loop.time() > until:
                raise Refusal(replies.TOO_SLOW)
            self._reset_timeout()
            rest = reception.feed(octets)
        if rest:
            self._reader.feed_data(rest)
        if reception.refusal is not None:
            raise Refusal(reception.refusal)
        return reception.data

    async def _finish(self, begun: Begun, content: bytes) -> str:
        """The reply once the mail is kept, or handed to whoever reads our own addresses."""
        if not self._door.wait():
            raise Refusal(replies.BUSY)
        self.is_busy = True
        try:
            return await self._keep(begun, content)
        finally:
            self.is_busy = False
            self._door.waited()

    async def _keep(self, begun: Begun, content: bytes) -> str:
        mail, requests = begun.mail, dict(begun.recipients.values())
        letter = Letter(self._address, self._came_by(mail), self._protocol(mail), mail, requests)
        if begun.returned is not None and self._parts.returned is not None:
            stamped = await asyncio.to_thread(self._parts.acceptance.stamped, letter, content)
            await self._parts.returned(begun.returned, stamped)
            return "250 2.0.0 accepted"
        if begun.caller is None:
            raise Refusal(replies.NO_CALLER)
        caller = await self._parts.callers.check(begun.caller)
        return await self._parts.acceptance.take(letter, caller, content)

    def _came_by(self, mail: Mail) -> Trace:
        """Nothing is known where the words cannot stand in a header."""
        helo = str(self.session.host_name) if self.session else ""
        address = self._address
        return read_words(address, helo, mail.sender) or read_words(address, "unknown", mail.sender) or Trace()

    def _protocol(self, mail: Mail) -> str:
        """See RFC 3848 and RFC 6531 section 4.3."""
        name = "UTF8SMTP" if mail.is_utf8 else "ESMTP" if self.is_extended else "SMTP"
        return name + "S" * self.is_encrypted + "A" * (self._login is not None)
