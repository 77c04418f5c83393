"""One SMTP connection: aiosmtpd's protocol with limits, and with replies that people who run mail servers expect.

aiosmtpd reads commands and does TLS; what it would say is given an enhanced code (RFC 2034) where it has none.
"""

import asyncio
import base64
import binascii
import logging
import re
import ssl
from collections import defaultdict
from typing import Any, cast

from aiosmtpd.smtp import SMTP, TLSSetupException

from serving.errors import BrokerUnavailable, Refused
from serving.gateway.limits import network_of
from serving.intake import replies
from serving.intake.door import Door, Patience
from serving.intake.replies import Refusal

LONGEST_COMMAND = 4_096
MOST_ERRORS, MOST_ERRORS_OF_CALLER = 20, 200
MOST_IDLE_COMMANDS = 100
GRACE = 5.0
"""Seconds for the last reply to be read."""

_CODED = re.compile(r"\d\d\d[ -][245]\.\d{1,3}\.\d{1,3} ")
_GENERIC = {"221": "2.0.0", "250": "2.0.0", "500": "5.5.2", "501": "5.5.4", "502": "5.5.1", "503": "5.5.1"}
_TOO_MANY_RECIPIENTS = "452 4.5.3"

_log = logging.getLogger(__name__)


class _NoHandler:
    """There are no hooks: what aiosmtpd would ask them, `Connection` does."""

    def __dir__(self) -> list[str]:
        return []


_NO_HANDLER = _NoHandler()
_COMMANDS = [name for name in dir(SMTP) if name.startswith("smtp_")]


class Connection(SMTP):
    """What a client may do beside sending mail: greet, encrypt, and be sent away."""

    line_length_limit = 64 << 10  # how much aiosmtpd's reader takes in before it is read
    command_size_limit = LONGEST_COMMAND
    command_size_limits = defaultdict(lambda: LONGEST_COMMAND)  # noqa: RUF012 - aiosmtpd's, which it clears

    def __init__(self, hostname: str, door: Door, patience: Patience, tls: ssl.SSLContext | None, largest: int) -> None:
        """Without `tls` there is no STARTTLS; `largest` is a mail's octets."""
        self._door, self._patience, self._largest = door, patience, largest
        self._address = self._network = ""
        self._is_let_in = False
        self._errors, self._idle_commands = 0, 0
        self._whole: asyncio.TimerHandle | None = None
        self._silent_until = 0.0
        super().__init__(
            _NO_HANDLER,
            data_size_limit=largest,
            enable_SMTPUTF8=True,
            hostname=hostname,
            ident="Clarion",
            tls_context=tls,
            timeout=patience.idle,
            loop=asyncio.get_running_loop(),
        )
        self._smtp_methods = _Commands(self._smtp_methods, self._unknown)

    def __dir__(self) -> list[str]:
        """aiosmtpd looks at everything that this names for each connection, which would take as long as a mail."""
        return _COMMANDS

    @property
    def is_encrypted(self) -> bool:
        """Whether nobody on the way can read along."""
        return self._tls_protocol is not None

    @property
    def is_extended(self) -> bool:
        """Whether the client said EHLO."""
        return bool(self.session and self.session.extended_smtp)

    @property
    def is_trusted(self) -> bool:
        """Whether we know who calls; then more errors are forgiven."""
        return False

    @property
    def extensions(self) -> list[str]:
        """What EHLO offers."""
        offered = [f"SIZE {self._largest}", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8"]
        return [*offered, "STARTTLS"] if self.tls_context and not self.is_encrypted else offered

    def send_away(self, reply: str) -> None:
        """End the connection with this reply, whatever it is doing."""
        if self.transport is None or self.transport.is_closing():
            return
        self._writer.write(f"{reply}\r\n".encode())
        self._hang_up()

    def connection_made(self, transport: Any) -> None:
        """A client came, or has finished its TLS handshake: then all that it said before is forgotten (RFC 3207)."""
        if self._original_transport is None:
            self._address = _plain(str((transport.get_extra_info("peername") or ("",))[0]))
            self._network = network_of(self._address)
            refusal = self._door.enter(self._network)
            if refusal is not None:
                transport.write(f"{refusal}\r\n".encode())
                transport.close()
                return
            self._is_let_in = True
            self._whole = self.loop.call_later(self._patience.connection, self._too_slow)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol; aiosmtpd itself calls it once more after a handshake that failed."""
        if not self._is_let_in:
            return
        self._is_let_in = False
        self._door.leave(self._network)
        if self._whole is not None:
            self._whole.cancel()
        super().connection_lost(error)

    async def push(self, status: str | bytes) -> None:
        """Send a reply; a client that gets too many bad ones has heard enough."""
        reply = _coded(status if isinstance(status, str) else status.decode("ascii", "replace"))
        await self._send(reply)
        if reply[0] in "45" and not reply.startswith(_TOO_MANY_RECIPIENTS):
            await self._count_error(reply)

    async def handle_exception(self, error: Exception) -> str:
        """The reply to what a command raised; what broke is logged without its words."""
        if isinstance(error, Refusal):
            return error.reply
        if isinstance(error, BrokerUnavailable):
            return replies.AWAY
        if isinstance(error, TimeoutError):
            return replies.UNKNOWN
        if isinstance(error, Refused) and error.reason in replies.REFUSED:
            return replies.REFUSED[error.reason]
        if not isinstance(error, TLSSetupException):
            reason = f"the broker refuses: {error.reason}" if isinstance(error, Refused) else type(error).__name__
            _log.error("a session failed: %s", reason)
        return replies.INTERNAL

    async def smtp_HELO(self, hostname: str | None) -> None:
        """RFC 5321 section 4.1.1.1; there are no extensions then."""
        self._greet(hostname, is_extended=False)
        await self._send(f"250 {self.hostname}")

    async def smtp_EHLO(self, hostname: str | None) -> None:
        """The same with extensions."""
        self._greet(hostname, is_extended=True)
        *lines, last = self.hostname, *self.extensions
        await self._send("\r\n".join([*(f"250-{line}" for line in lines), f"250 {last}"]))

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """RFC 3207. What was sent behind the command is never read as if it had been encrypted."""
        if self.is_encrypted:
            raise Refusal("503 5.5.1 It is encrypted already")
        await super().smtp_STARTTLS(arg)

    async def smtp_NOOP(self, arg: str | None) -> None:
        """Nothing, a number of times."""
        self._spend()
        await super().smtp_NOOP(arg)

    async def smtp_RSET(self, arg: str | None) -> None:
        """Forget the mail that has begun."""
        self._spend()
        await super().smtp_RSET(arg)

    async def smtp_VRFY(self, arg: str | None) -> None:  # noqa: ARG002
        """Nobody is told who can be written to (RFC 5321 section 7.3)."""
        self._spend()
        await self.push("252 2.5.0 Send the mail, and see")

    async def smtp_HELP(self, arg: str | None) -> None:  # noqa: ARG002
        """Where it is written."""
        self._spend()
        await self.push("214 2.0.0 See RFC 5321")

    async def smtp_EXPN(self, arg: str | None) -> None:  # noqa: ARG002
        """There are no lists here."""
        raise Refusal("502 5.5.1 Not offered")

    async def _unknown(self, arg: str | None) -> None:  # noqa: ARG002
        raise Refusal("500 5.5.2 No such command")

    async def _ask(self, challenge: bytes) -> bytes:
        """The client's answer, decoded (RFC 4954 section 4)."""
        await self.push(b"334 " + base64.b64encode(challenge))
        try:
            line = await self._reader.readuntil()
        except asyncio.LimitOverrunError:
            raise Refusal("421 5.5.6 Line too long") from None
        self._reset_timeout()
        return decoded(line.strip())

    async def _send(self, reply: str) -> None:
        self._writer.write(f"{reply}\r\n".encode("utf-8", "replace"))
        await self._writer.drain()

    def _need_greeting(self) -> None:
        if not (self.session and self.session.host_name):
            raise Refusal("503 5.5.1 Say EHLO first")

    def _greet(self, hostname: str | None, *, is_extended: bool) -> None:
        self._spend()
        if not hostname:
            raise Refusal("501 5.5.4 Say who you are: EHLO name")
        self._set_rset_state()  # type: ignore[no-untyped-call]
        if self.session is not None:
            self.session.extended_smtp, self.session.host_name = is_extended, hostname

    def _spend(self) -> None:
        """Count a command that brings no mail."""
        self._idle_commands += 1
        if self._idle_commands > MOST_IDLE_COMMANDS:
            raise Refusal(replies.TOO_MANY_COMMANDS)

    async def _count_error(self, reply: str) -> None:
        self._errors += 1
        if reply.startswith("421"):
            self._hang_up()
        elif self._errors >= (MOST_ERRORS_OF_CALLER if self.is_trusted else MOST_ERRORS):
            self.send_away(replies.TOO_MANY_ERRORS)
        await asyncio.sleep(0)  # where it was hung up, this ends here

    def _reset_timeout(self, duration: float | None = None) -> None:
        """aiosmtpd's: something came. It makes a timer for each command; ours looks again when its time is over."""
        self._silent_until = self.loop.time() + (duration or self._timeout_duration)
        if self._timeout_handle is None or self._timeout_handle.when() > self._silent_until:
            self._wait_until_silent()

    def _wait_until_silent(self) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self._timeout_handle = self.loop.call_at(self._silent_until, self._timeout_cb)

    def _timeout_cb(self) -> None:
        """aiosmtpd's: nothing has come for too long, or so it seemed when the timer was made."""
        if self.loop.time() < self._silent_until:
            self._wait_until_silent()
        else:
            self._too_slow()

    def _too_slow(self) -> None:
        self.send_away(replies.TOO_SLOW)

    def _hang_up(self) -> None:
        """Close; what the client has sent beyond is not read any more, and a client that does not read is not waited
        for."""
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
        if self.transport is not None:
            self.transport.close()
            self.loop.call_later(GRACE, cast("asyncio.WriteTransport", self.transport).abort)


class _Commands(dict[str, Any]):
    """aiosmtpd looks a command's method up here, and gets one for what is no command as well."""

    def __init__(self, methods: dict[str, Any], unknown: Any) -> None:
        super().__init__(methods)
        self._unknown = unknown

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, default or self._unknown)


def decoded(octets: bytes) -> bytes:
    """What base64 in an AUTH dialogue says. Raises Refusal 501, it is none, or `*`, by which a client gives up."""
    if octets == b"*":
        raise Refusal("501 5.7.0 Given up")
    try:
        return base64.b64decode(octets, validate=True)
    except binascii.Error:
        raise Refusal("501 5.5.2 This is no base64") from None


def _plain(address: str) -> str:
    """The address without its zone; IPv4 as such, also where it came through an IPv6 socket."""
    found = address.partition("%")[0]
    return found.removeprefix("::ffff:") if "." in found else found


def _coded(reply: str) -> str:
    code, rest = reply[:3], reply[4:]
    return reply if _CODED.match(reply) or code not in _GENERIC else f"{code} {_GENERIC[code]} {rest}"
