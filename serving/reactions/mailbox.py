"""A mailbox that is read and never written: folders are opened by EXAMINE, and of a mail nothing is asked but its flags
and the field Clarion-Notification."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self, TypeVar

from aioimaplib import IMAP4, AioImapException, Response, quoted

from serving.errors import ConfigurationError, Temporary
from serving.reactions.replies import Mail, View, read_folders, read_mails, read_uids, read_view

Value = TypeVar("Value")

PATIENCE = 30.0
"""Seconds for one reply."""

AT_ONCE = 50
"""Mails in one FETCH: aioimaplib handles the lines of what it reads at once recursively, and ends at a thousand."""

_FIELD = "CLARION-NOTIFICATION"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PASSING = (b"[UNAVAILABLE]", b"[INUSE]", b"[LIMIT]", b"[SERVERBUG]")
"""Why a login may be refused that is right (RFC 5530)."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where a mailbox is and who opens it; without `tls` nothing hides the password on the way."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None


class Mailbox:
    """One connection, logged in. Everything raises Temporary where the server is away or does not answer in time."""

    def __init__(self, account: Account) -> None:
        """Begins to connect; see `open`."""
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._host = account.host
        self._imap = IMAP4(account.host, account.port, None, PATIENCE, self._lose, account.tls)

    @classmethod
    async def open(cls, account: Account) -> Self:
        """A connection that is logged in.

        Raises:
            ConfigurationError: its certificate, its port or its login is wrong; trying again would not help.
        """
        mailbox = cls(account)
        try:
            await mailbox._greet()
            await mailbox._log_in(account)
        except BaseException:
            mailbox.abandon()
            raise
        return mailbox

    @property
    def can_idle(self) -> bool:
        """Whether the server tells of changes by itself (RFC 2177)."""
        return bool(self._imap.has_capability("IDLE"))

    async def junk(self) -> str | None:
        """The folder that the server has for junk (RFC 6154); None where it does not say."""
        if not self._imap.has_capability("SPECIAL-USE"):
            return None
        selected = "(SPECIAL-USE) " if self._imap.has_capability("LIST-EXTENDED") else ""
        response = await self._ask(self._imap.list(f'{selected}""', '"*"'))
        return next(iter(read_folders(response.lines, "\\Junk")), None)

    async def examine(self, folder: str) -> View:
        """Open a folder to read. ConfigurationError where there is none of that name."""
        keeps_changes = self._imap.has_capability("CONDSTORE")
        response = await self._ask(self._imap.examine(quoted(folder) + (" (CONDSTORE)" if keeps_changes else "")))
        view = read_view(response.lines)
        if response.result != "OK" or view is None:
            raise ConfigurationError("the mailbox has no such folder; see --folder and --junk")
        self._imap.protocol.state = "SELECTED"  # aioimaplib sees to it for SELECT only
        return view if keeps_changes else View(view.validity, None)

    async def search(self, criteria: str, since: date, change: int | None) -> tuple[int, ...]:
        """The UIDs of what came since that day and meets the criteria, and where `change` is given changed after it."""
        words = f"SINCE {since.day}-{_MONTHS[since.month - 1]}-{since.year:04} {criteria}"
        changed = "" if change is None else f"MODSEQ {change + 1} "
        return read_uids((await self._asked(self._imap.uid_search(changed + words, charset=None))).lines)

    async def fetch(self, uids: Sequence[int]) -> list[Mail]:
        """Those that are still there."""
        mails: list[Mail] = []
        for start in range(0, len(uids), AT_ONCE):
            numbers = ",".join(map(str, uids[start : start + AT_ONCE]))
            wanted = f"(UID FLAGS BODY.PEEK[HEADER.FIELDS ({_FIELD})])"
            mails += read_mails((await self._asked(self._imap.uid("fetch", numbers, wanted))).lines)
        return mails

    async def wait(self, seconds: float) -> None:
        """Return when the open folder has changed, or after so many seconds; only after them where the server cannot
        tell."""
        if not self.can_idle:
            await self._race(asyncio.sleep(seconds), seconds + PATIENCE)
            return
        idle = await self._ask(self._imap.idle_start(seconds))
        await self._ask(self._imap.wait_server_push(seconds + PATIENCE), seconds + PATIENCE)
        self._imap.idle_done()
        await self._ask(idle)

    async def close(self) -> None:
        """Log out."""
        try:
            await self._ask(self._imap.logout())
        except Temporary:
            pass
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End the connection, whatever state it is in."""
        for task in (*self._imap.tasks, *self._imap.protocol.tasks):
            task.cancel()
        if self._imap.protocol.transport is not None:
            self._imap.protocol.transport.close()

    async def _greet(self) -> None:
        try:
            await self._race(self._imap.wait_hello_from_server(), PATIENCE)
        except ssl.SSLCertVerificationError as error:
            raise ConfigurationError(
                f"the certificate of {self._host} is not trusted: {error.verify_message}; see --ca-file"
            ) from None
        except ssl.SSLError as error:
            if error.reason == "WRONG_VERSION_NUMBER":
                raise ConfigurationError(f"{self._host} speaks no TLS on that port; 993 is usual") from None
            raise self._away("ended the TLS handshake") from None
        except socket.gaierror:
            raise self._away("is not found") from None
        except TimeoutError:
            raise self._away("does not answer") from None
        except OSError as error:
            raise self._away(f"cannot be reached: {error.strerror or type(error).__name__}") from None

    async def _log_in(self, account: Account) -> None:
        if self._imap.has_capability("LOGINDISABLED"):
            raise ConfigurationError(f"{self._host} takes no password on this connection; it wants TLS")
        try:
            response = await self._ask(self._imap.login(quoted(account.user), account.password))
        except ValueError:
            raise ConfigurationError("a user's name and a password have one line") from None
        if response.result != "OK":
            if any(code in line.upper() for code in _PASSING for line in response.lines):
                raise self._away("takes no login now")
            raise ConfigurationError(f"{self._host} refuses the login; see --user and --password-file")
        await self._ask(self._imap.protocol.capability())  # it is another one now

    async def _asked(self, command: Coroutine[Any, Any, Response]) -> Response:
        """A reply that must be OK."""
        response = await self._ask(command)
        if response.result != "OK":
            raise self._away(f"answers {response.result}")
        return response

    async def _ask(self, command: Awaitable[Value], within: float = PATIENCE) -> Value:
        """The reply; aioimaplib itself would wait for ever once the connection is gone."""
        try:
            return await self._race(command, within)
        except (AioImapException, OSError, IndexError, UnicodeError) as error:
            raise self._away(f"breaks off ({type(error).__name__})") from None

    async def _race(self, work: Awaitable[Value], within: float) -> Value:
        task: asyncio.Future[Any] = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._lost}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                result: Value = task.result()
                return result
        finally:
            task.cancel()
        raise self._away("has ended the connection" if self._lost.done() else "does not answer")

    def _away(self, what: str) -> Temporary:
        return Temporary(f"the mail server {self._host} {what}", is_outage=True)

    def _lose(self, _: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
