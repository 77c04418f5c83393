"""The replies to several commands at once (PIPELINING, RFC 2920), over a connection that aiosmtplib has opened.

The library reads one reply a command and drops what comes with it. So for the length of a transaction the transport
speaks to a protocol of ours, and to the library's again afterwards.
"""

import asyncio
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from aiosmtplib import SMTP, SMTPReadTimeoutError, SMTPResponse, SMTPResponseException, SMTPServerDisconnected

LONGEST_REPLY = 32_768
"""Octets of replies that nobody has read yet: a server that says more is not listened to."""
_MALFORMED = -1  # the library's code for it
_AROUND = 6
"""Octets of a line besides its words: the code, a hyphen and CRLF."""
_AFTER_CODE = (b" ", b"-", b"\r", b"")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_ENDS = re.compile(rb"\r\n|\n|\r")


class Unanswered(SMTPServerDisconnected):
    """The connection was lost before anything was answered: nobody was there any more, perhaps."""


class Conversation(asyncio.Protocol):
    """Commands go out as they are written, replies are read in their order. One transaction's, not to be kept."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._unread = bytearray()
        self._words: list[bytes] = []
        self._replies: deque[SMTPResponse] = deque()
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_answered = False

    def write(self, octets: bytes) -> None:
        """Send them; a connection that is lost already shows where the reply is read.

        Raises:
            SMTPResponseException: the server has said more than it was asked: it would be taken for the next reply.
        """
        if self._replies or self._unread or self._words:
            raise SMTPResponseException(_MALFORMED, "a reply that nobody asked for")
        self._transport.write(octets)

    async def reply(self, within: float | None) -> SMTPResponse:
        """The next reply, waited for `within` seconds.

        Raises:
            SMTPServerDisconnected: it will not come; Unanswered where none has come before.
            SMTPReadTimeoutError: it has not come.
            SMTPResponseException: what came is no reply.
        """
        if not self._replies and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(within):
                    await self._waiter
            except TimeoutError:
                raise SMTPReadTimeoutError("no reply in time") from None
            finally:
                self._waiter = None
        if self._replies:
            self._is_answered = True
            return self._replies.popleft()
        raise self._error or SMTPServerDisconnected("no reply")

    @property
    def is_over(self) -> bool:
        """Whether every octet that came belonged to a reply that was read."""
        return not (self._unread or self._words or self._replies or self._error)

    def data_received(self, data: bytes) -> None:
        """Asyncio's: octets of the server."""
        if self._error is not None:
            return
        self._unread += data
        while (end := self._unread.find(b"\n")) >= 0:
            line = bytes(self._unread[:end])
            del self._unread[: end + 1]
            self._take(line)
        if len(self._unread) + sum(len(words) + _AROUND for words in self._words) > LONGEST_REPLY:
            self._fail(SMTPResponseException(_MALFORMED, "a reply without end"))
        self._wake()

    def eof_received(self) -> bool:
        """Asyncio's: the server says no more."""
        self._fail(self._lost())
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Asyncio's; the library learns it where the transaction is left, by a connection that is closed."""
        self._fail(self._lost())

    def _take(self, line: bytes) -> None:
        if not (line[:3].isdigit() and line[3:4] in _AFTER_CODE) or self._error is not None:
            self._fail(SMTPResponseException(_MALFORMED, f"no reply: {line[:80].decode(errors='replace')}"))
            return
        self._words.append(line[4:].strip())
        if line[3:4] != b"-":
            text = b"\n".join(self._words).decode("utf-8", "surrogateescape")
            self._words = []
            self._replies.append(SMTPResponse(int(line[:3]), text))

    def _lost(self) -> SMTPServerDisconnected:
        kind = SMTPServerDisconnected if self._is_answered or self._replies else Unanswered
        return kind("the connection is lost")

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and (self._replies or self._error):
            self._waiter.set_result(None)


@contextmanager
def conversation(smtp: SMTP) -> Iterator[Conversation]:
    """The connection's replies until the block is left, then the library's again; it is closed where any are left, or
    where it was lost.

    Raises:
        Unanswered: it is lost already.
    """
    library, transport = smtp.protocol, smtp.transport
    if library is None or not isinstance(transport, asyncio.Transport) or transport.is_closing():
        raise Unanswered("the connection is lost")
    talk = Conversation(transport)
    transport.set_protocol(talk)
    try:
        yield talk
    finally:
        transport.set_protocol(library)
        if not talk.is_over:
            smtp.close()


def command(*words: str, encoding: str = "ascii") -> bytes:
    """One command's line. Raises ValueError where something in it would end it, or begin another."""
    line = " ".join(words).encode(encoding)
    if _CONTROL.search(line):
        raise ValueError("a control character in a command")
    return line + b"\r\n"


def content(mail: bytes) -> bytes:
    """The mail as it follows DATA (RFC 5321 4.5.2): CRLF ends its lines, dots that begin them are doubled, a dot alone
    ends it."""
    if not mail.count(b"\r") == mail.count(b"\n") == mail.count(b"\r\n"):
        mail = _ENDS.sub(b"\r\n", mail)
    stuffed = mail.replace(b"\r\n.", b"\r\n..")
    start = b"." if mail.startswith(b".") else b""
    return b"".join((start, stuffed, b"" if mail.endswith(b"\r\n") else b"\r\n", b".\r\n"))
