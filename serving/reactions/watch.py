"""Watches the folders of a mailbox: looks through what is there, then at what changes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random

from serving.errors import BrokerUnavailable, Temporary
from serving.reactions.hearing import Hearing
from serving.reactions.mailbox import Mailbox
from serving.reactions.replies import View
from serving.reactions.said import criteria, said

LOOKS_BACK = timedelta(days=30)
"""What came earlier is not looked at; an alarm has been acknowledged by then, or never is."""

FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
"""Seconds between two tries to reach what is away."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Folders:
    """Which ones: `named`, the first of which is the one that tells by itself that it changed, and the one for junk:
    by name, or the server's own where `finds_junk`."""

    named: Sequence[str] = ("INBOX",)
    junk: str | None = None
    finds_junk: bool = True


@dataclass(slots=True)
class _Seen:
    """What is known of a folder, as long as its UIDs are valid: up to which change it was looked at, and which mails
    are not ours."""

    validity: int
    change: int | None = None
    strangers: set[int] = field(default_factory=set)


class Watch:
    """All of it is in memory. Whoever starts anew looks through the last 30 days again, and tells nothing twice.

    `clock` is seconds since the epoch.
    """

    def __init__(self, folders: Folders, hearing: Hearing, clock: Callable[[], float]) -> None:
        self._folders = folders
        self._hearing = hearing
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    async def look(self, mailbox: Mailbox) -> int:
        """Look at every folder once, the first named one last, which stays open; how many reactions were new.

        Raises:
            Temporary: the mail server is away.
            BrokerUnavailable: the broker is; nothing is forgotten by it.
            ConfigurationError: a folder is not there.
        """
        junk = await mailbox.junk() if self._folders.finds_junk else self._folders.junk
        folders = [name for name in reversed(self._folders.named) if name != junk]
        return sum([await self._look_into(mailbox, name, name == junk) for name in ([junk] if junk else []) + folders])

    async def keep_looking(
        self, connect: Callable[[], Awaitable[Mailbox]], every: float, random: Random, looked: asyncio.Event
    ) -> None:
        """Until it is cancelled: look, wait for a change or for `every` seconds at most, look again; over
        connections that end. `looked` is set after each look.

        Raises:
            ConfigurationError: as `look` and `connect`; trying again would not help.
        """
        wait = FIRST_WAIT
        while True:
            try:
                mailbox = await connect()
                try:
                    while True:
                        await self.look(mailbox)
                        looked.set()
                        wait = FIRST_WAIT
                        await mailbox.wait(every)
                finally:
                    mailbox.abandon()  # a folder that was opened to read needs no word at the end
            except (Temporary, BrokerUnavailable) as away:
                _log.warning("%s; tried again in %.0f s at most", away, wait)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(wait * 2, LONGEST_WAIT)

    async def _look_into(self, mailbox: Mailbox, folder: str, in_junk: bool) -> int:
        view = await mailbox.examine(folder)
        seen = self._seen_of(folder, view)
        change = seen.change if view.change is not None else None
        if change is not None and change == view.change:
            return 0
        found = await mailbox.search(criteria(in_junk=in_junk), self._since(), change)
        if change is None:
            seen.strangers.intersection_update(found)
        count = 0
        for mail in await mailbox.fetch([uid for uid in found if uid not in seen.strangers]):
            heard = mail.notification and await self._hearing.hear(mail.notification, said(mail.flags, in_junk=in_junk))
            if heard is None:
                seen.strangers.add(mail.uid)
            count += heard or 0
        seen.change = view.change
        return count

    def _seen_of(self, folder: str, view: View) -> _Seen:
        """Of before, unless the server has numbered the folder's mails anew (RFC 9051 section 2.3.1.1)."""
        seen = self._seen.get(folder)
        if seen is None or seen.validity != view.validity:
            seen = self._seen[folder] = _Seen(view.validity)
        return seen

    def _since(self) -> date:
        return (datetime.fromtimestamp(self._clock(), UTC) - LOOKS_BACK).date()
