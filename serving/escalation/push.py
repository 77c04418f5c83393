"""Pushes an alarm to another channel than mail, by Apprise. Nothing of a URL, which may hold tokens, is ever logged.

Apprise speaks in threads, which nobody can end, and has few of them for all channels: one that answers an octet a
second for ever would keep every other alarm. So each push has a thread of its own, and a channel that hangs gets
no more.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Collection
from threading import Thread
from typing import Literal

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.plugins.base import NotifyBase

from serving.errors import ConfigurationError
from serving.escalation.chain import Push

Result = Literal["sent", "failed", "unknown"]
"""`unknown`: there was no answer in time, and it may have been sent."""

TIMEOUT = 20.0
"""Seconds for a push."""

MOST, MOST_EACH = 256, 4
"""Pushes on their way at once, of all channels and of one: what does not end in time goes on, and counts."""

_SILENT = logging.CRITICAL + 1


class Pushes:
    """Sends by the schemes that the operator allows; others fail."""

    def __init__(self, schemes: Collection[str], *, timeout: float = TIMEOUT) -> None:
        self._schemes = frozenset(schemes)
        self._timeout = timeout
        self._on_their_way: Counter[str] = Counter()
        silence()

    async def __call__(self, to: Push, title: str, text: str) -> Result:
        """Send the alarm; what went wrong is not said, for it would name the URL."""
        channel = await asyncio.to_thread(self._channel, to)
        if channel is None or self._on_their_way[to.url] >= MOST_EACH or self._on_their_way.total() >= MOST:
            return "failed"
        try:
            async with asyncio.timeout(self._timeout):
                return "sent" if await asyncio.shield(self._begun(to.url, channel, title, text)) else "failed"
        except TimeoutError:
            return "unknown"

    def _begun(self, url: str, channel: NotifyBase, title: str, text: str) -> "asyncio.Future[bool]":
        """Whether it was sent, from a thread that nothing waits for."""
        loop = asyncio.get_running_loop()
        is_sent: asyncio.Future[bool] = loop.create_future()

        def end(result: bool) -> None:
            self._on_their_way -= Counter([url])
            is_sent.set_result(result)

        def send() -> None:
            result = _send(channel, title, text)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(end, result)

        self._on_their_way[url] += 1
        Thread(target=send, daemon=True).start()
        return is_sent

    def check(self, to: Push) -> None:
        """Raises ConfigurationError where it could never be sent there; of the URL only the scheme is named."""
        if to.scheme not in self._schemes:
            raise ConfigurationError(
                f"{to.scheme}:// is not allowed; CLARION_APPRISE_SCHEMES allows {', '.join(sorted(self._schemes))}"
            )
        if self._channel(to) is None:
            raise ConfigurationError(f"Apprise cannot read that {to.scheme}:// URL")

    def _channel(self, to: Push) -> NotifyBase | None:
        """The plugin for the URL. It keeps nothing on disk, loads no plugins of others, and reads no configuration.
        With a time-out of its own it would take one of Apprise's few threads."""
        if to.scheme not in self._schemes:
            return None
        asset = AppriseAsset(app_id="Clarion", storage_mode="memory", secure_logging=True, service_timeout=0)
        return Apprise.instantiate(to.url, asset=asset, suppress_exceptions=True)


def silence() -> None:
    """Apprise logs URLs, and what is below it their paths, which hold tokens."""
    for name in ("apprise", "urllib3", "requests"):
        logging.getLogger(name).setLevel(_SILENT)


def _send(channel: NotifyBase, title: str, text: str) -> bool:
    apprise = Apprise(asset=channel.asset)
    apprise.add(channel)
    try:
        return bool(
            apprise.notify(
                body=text,
                title=title,
                notify_type=NotifyType.WARNING,
                body_format=NotifyFormat.TEXT,
                interpret_escapes=False,
            )
        )
    except Exception:  # a plugin's own; its text may hold the URL
        return False
