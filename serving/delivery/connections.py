"""SMTP connections to any servers, kept for the next mail."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from aiosmtplib import SMTP, SMTPException, SMTPHeloError, SMTPResponseException

from serving.delivery.replies import clean, is_in_step
from serving.delivery.routes import IMPLICIT_TLS, Security, Server
from serving.delivery.tls import Contexts, contexts

_LOST = (SMTPException, OSError, ValueError)  # a name that TLS cannot ask for is a ValueError
_FRESH = 1.0
"""Seconds for which a connection whose last mail was taken needs no RSET to show that it still answers."""


@dataclass(eq=False, slots=True)
class _Line:
    """A connection after EHLO, how many mails it has carried, and when the last was taken (monotonic seconds)."""

    smtp: SMTP
    server: Server
    mails: int = 0
    taken_at: float = -_FRESH


class Connections:
    """Lends connections, each to one borrower at a time. It keeps up to `keep` idle ones for `idle` seconds, those of
    all servers together; one that has carried `mails` mails is closed, as many receivers want."""

    def __init__(
        self,
        hostname: str,
        *,
        timeout: float,
        keep: int,
        idle: float = 30.0,
        mails: int = 100,
        connect_timeout: float = 30.0,
        tls: Contexts | None = None,
    ) -> None:
        """`hostname` is what we say in EHLO; `timeout` is seconds for each reply, `connect_timeout` until the first."""
        self._hostname = hostname
        self._timeout = timeout
        self._connect_timeout = min(connect_timeout, timeout)
        self._keep = keep
        self._idle_for = idle
        self._mails = mails
        self._tls = tls or contexts()
        self._idle: dict[_Line, asyncio.TimerHandle] = {}

    @asynccontextmanager
    async def borrow(self, servers: Sequence[Server], *, asked: bool = True) -> AsyncIterator[SMTP]:
        """A connection to one of the servers, the first that can be spoken to, without a mail begun. Whether a kept one
        still answers is `asked` first; otherwise not where a mail was taken over it a moment ago.

        It is kept afterwards unless the borrower failed in another way than by an answer of the server.

        Raises:
            ConnectionError: none of them serves us now, whatever code it said; the message says why the last did not.
        """
        line = await self._reuse(servers, asked=asked) or await self._connect(servers)
        try:
            yield line.smtp
        except SMTPResponseException as error:
            line.taken_at = -_FRESH
            self._give_back(line, reusable=is_in_step(error.code))
            raise
        except BaseException:
            line.smtp.close()
            raise
        line.taken_at = time.monotonic()
        self._give_back(line, reusable=True)

    async def close(self) -> None:
        """Say goodbye on the idle connections."""
        while self._idle:
            smtp = self._take(next(iter(self._idle))).smtp
            with suppress(*_LOST):
                await smtp.quit(timeout=1.0)
            smtp.close()

    @property
    def idle(self) -> int:
        """How many are kept."""
        return len(self._idle)

    async def _reuse(self, servers: Sequence[Server], *, asked: bool) -> _Line | None:
        """An idle connection to one of the most preferred that still answers; those that do not are dropped."""
        best = {server for server in servers if server.preference == servers[0].preference}
        while line := next((line for line in reversed(self._idle) if line.server in best), None):
            self._take(line)
            if not line.smtp.is_connected:
                line.smtp.close()
                continue
            if not asked and time.monotonic() - line.taken_at < _FRESH:
                return line
            try:
                await line.smtp.rset()
            except _LOST:
                line.smtp.close()
            except BaseException:
                line.smtp.close()
                raise
            else:
                return line
        return None

    async def _connect(self, servers: Sequence[Server]) -> _Line:
        reason = ""
        for server in servers:
            try:
                return _Line(await self._open(server), server)
            except _LOST as error:
                words = clean(" ".join(map(str, error.args)) or type(error).__name__)
                reason = words.replace(server.name, "<server>")  # an MX's tells the recipient's domain
        raise ConnectionError(reason)

    async def _open(self, server: Server) -> SMTP:
        """A connection that has shown the TLS that it must, and knows us where it has to."""
        smtp = SMTP(
            hostname=server.address,
            port=server.port,
            local_hostname=self._hostname,
            timeout=self._timeout,
            start_tls=False,
            use_tls=server.port == IMPLICIT_TLS and server.security is not Security.PLAIN,
            tls_context=self._tls.of(server.security),
        )
        try:
            await smtp.connect(timeout=self._connect_timeout)
            await _greet(smtp)
            is_secured = await self._secure(smtp, server)
            if is_secured and server.login is not None:
                await smtp.login(server.login.user, server.login.password)
        except BaseException:
            smtp.close()
            raise
        return smtp if is_secured else await self._open(replace(server, security=Security.PLAIN))

    async def _secure(self, smtp: SMTP, server: Server) -> bool:
        """False where TLS broke off and it goes without: the connection is of no more use."""
        if server.security is Security.PLAIN or smtp.get_transport_info("sslcontext") is not None:
            return True
        if not smtp.supports_extension("starttls"):
            if server.security is Security.REQUIRED:
                raise ConnectionError("it offers no TLS, and that is required")
            return True
        try:
            await smtp.starttls(server_hostname=server.name, tls_context=self._tls.of(server.security))
            await _greet(smtp)
        except _LOST:
            if server.security is Security.REQUIRED:
                raise
            smtp.close()
            return False
        return True

    def _take(self, line: _Line) -> _Line:
        self._idle.pop(line).cancel()
        return line

    def _give_back(self, line: _Line, *, reusable: bool) -> None:
        line.mails += 1
        if not (reusable and line.smtp.is_connected and line.mails < self._mails and self._keep):
            line.smtp.close()
            return
        if len(self._idle) >= self._keep:
            self._take(next(iter(self._idle))).smtp.close()
        self._idle[line] = asyncio.get_running_loop().call_later(self._idle_for, self._drop, line)

    def _drop(self, line: _Line) -> None:
        del self._idle[line]
        line.smtp.close()


async def _greet(smtp: SMTP) -> None:
    if not smtp.is_ehlo_or_helo_needed:
        return
    try:
        await smtp.ehlo()
    except SMTPHeloError:
        await smtp.helo()
