"""Pushes an alarm to another channel than mail, by Apprise. Nothing of a URL, which may hold tokens, is ever logged."""

import asyncio
import logging
from collections.abc import Collection
from typing import Literal

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.plugins.base import NotifyBase

from serving.errors import ConfigurationError
from serving.escalation.chain import Push

Result = Literal["sent", "failed", "unknown"]
"""`unknown`: there was no answer in time, and it may have been sent."""

TIMEOUT = 20.0
"""Seconds for a push."""

_SILENT = logging.CRITICAL + 1


class Pushes:
    """Sends by the schemes that the operator allows; others fail."""

    def __init__(self, schemes: Collection[str], *, timeout: float = TIMEOUT) -> None:
        self._schemes = frozenset(schemes)
        self._timeout = timeout
        silence()

    async def __call__(self, to: Push, title: str, text: str) -> Result:
        """Send the alarm; what went wrong is not said, for it would name the URL."""
        channel = await asyncio.to_thread(self._channel, to)
        if channel is None:
            return "failed"
        try:
            async with asyncio.timeout(self._timeout):
                return "sent" if await _send(channel, title, text) else "failed"
        except TimeoutError:
            return "unknown"
        except Exception:  # a plugin's own; its text may hold the URL
            return "failed"

    def check(self, to: Push) -> None:
        """Raises ConfigurationError where it could never be sent there; of the URL only the scheme is named."""
        if to.scheme not in self._schemes:
            raise ConfigurationError(
                f"{to.scheme}:// is not allowed; CLARION_APPRISE_SCHEMES allows {', '.join(sorted(self._schemes))}"
            )
        if self._channel(to) is None:
            raise ConfigurationError(f"Apprise cannot read that {to.scheme}:// URL")

    def _channel(self, to: Push) -> NotifyBase | None:
        """The plugin for the URL. It keeps nothing on disk, loads no plugins of others, and reads no configuration."""
        if to.scheme not in self._schemes:
            return None
        asset = AppriseAsset(app_id="Clarion", storage_mode="memory", secure_logging=True)
        return Apprise.instantiate(to.url, asset=asset, suppress_exceptions=True)


def silence() -> None:
    """Apprise logs URLs, and what is below it their paths, which hold tokens."""
    for name in ("apprise", "urllib3", "requests"):
        logging.getLogger(name).setLevel(_SILENT)


async def _send(channel: NotifyBase, title: str, text: str) -> bool:
    apprise = Apprise(asset=channel.asset)
    apprise.add(channel)
    return bool(
        await apprise.async_notify(
            body=text,
            title=title,
            notify_type=NotifyType.WARNING,
            body_format=NotifyFormat.TEXT,
            interpret_escapes=False,
        )
    )
