"""Connections to one SMTP server, kept for the next mail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiosmtplib import SMTP, SMTPException, SMTPHeloError, SMTPResponseException

from serving.delivery.replies import clean, is_in_step

_LOST = (SMTPException, OSError)


@dataclass(frozen=True, slots=True)
class Destination:
    """A smarthost. `start_tls` None: TLS where it is offered, whoever is there (RFC 7435); True: TLS, verified, or
    nothing; False: never. `hostname` is what we say in EHLO."""

    host: str
    port: int
    hostname: str
    start_tls: bool | None = None


class Connections:
    """Lends connections, each to one borrower at a time; keeps up to `keep` idle ones for `idle` seconds."""

    def __init__(self, destination: Destination, *, timeout: float, keep: int, idle: float = 30.0) -> None:
        """`timeout` is seconds for connecting and for each reply."""
        self.destination = destination
        self._timeout = timeout
        self._keep = keep
        self._idle_for = idle
        self._idle: dict[SMTP, asyncio.TimerHandle] = {}

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[SMTP]:
        """A connection after EHLO, without a mail begun.

        It is kept afterwards unless the borrower failed in another way than by an answer of the server.

        Raises:
            ConnectionError: the destination does not serve us now, whatever code it said; the message says why.
        """
        smtp = await self._reuse() or await self._connect()
        try:
            yield smtp
        except SMTPResponseException as error:
            self._give_back(smtp, reusable=is_in_step(error.code))
            raise
        except BaseException:
            smtp.close()
            raise
        self._give_back(smtp, reusable=True)

    async def close(self) -> None:
        """Say goodbye on the idle connections."""
        while self._idle:
            smtp = self._take()
            with suppress(*_LOST):
                await smtp.quit(timeout=1.0)
            smtp.close()

    async def _reuse(self) -> SMTP | None:
        """An idle connection that still answers; those that do not are dropped."""
        while self._idle:
            smtp = self._take()
            try:
                await smtp.rset()
            except _LOST:
                smtp.close()
            except BaseException:
                smtp.close()
                raise
            else:
                return smtp
        return None

    async def _connect(self) -> SMTP:
        smtp = SMTP(
            hostname=self.destination.host,
            port=self.destination.port,
            local_hostname=self.destination.hostname,
            timeout=self._timeout,
            start_tls=self.destination.start_tls,
            validate_certs=self.destination.start_tls is True,
        )
        try:
            await smtp.connect()
            await _greet(smtp)
        except _LOST as error:
            smtp.close()
            reason = clean(" ".join(map(str, error.args)))
            raise ConnectionError(
                f"{self._name} does not serve us: {reason}; start it or set CLARION_SMTP_HOST and CLARION_SMTP_PORT"
            ) from None
        except BaseException:
            smtp.close()
            raise
        return smtp

    @property
    def _name(self) -> str:
        return f"{self.destination.host}:{self.destination.port}"

    def _take(self) -> SMTP:
        smtp, timer = self._idle.popitem()
        timer.cancel()
        return smtp

    def _give_back(self, smtp: SMTP, *, reusable: bool) -> None:
        if not (reusable and smtp.is_connected and len(self._idle) < self._keep):
            smtp.close()
            return
        self._idle[smtp] = asyncio.get_running_loop().call_later(self._idle_for, self._drop, smtp)

    def _drop(self, smtp: SMTP) -> None:
        del self._idle[smtp]
        smtp.close()


async def _greet(smtp: SMTP) -> None:
    if not smtp.is_ehlo_or_helo_needed:
        return
    try:
        await smtp.ehlo()
    except SMTPHeloError:
        await smtp.helo()
