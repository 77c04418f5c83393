"""When each key was last used: remembered here, and written down once a minute, never while somebody waits."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from serving.errors import BrokerUnavailable, Refused

EVERY = 60.0
"""Seconds between two writes."""
MOST = 10_000
"""Keys that are remembered between two of them."""


class Notebook(Protocol):
    """Who writes it down."""

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


class Uses:
    """The uses since the last write; `clock` is seconds since the epoch. What is not written yet is lost by a crash."""

    def __init__(self, notebook: Notebook, clock: Callable[[], float]) -> None:
        self._notebook = notebook
        self._clock = clock
        self._seen: dict[tuple[str, str], float] = {}

    def note(self, kind: str, name: str) -> None:
        """A credential was used now."""
        if (kind, name) in self._seen or len(self._seen) < MOST:
            self._seen[kind, name] = self._clock()

    async def write(self) -> None:
        """Write down what was noted, in one command; it is kept for the next time where nobody answers."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            await self._notebook.execute("note_use", uses=[[*credential, at] for credential, at in seen.items()])
        except (BrokerUnavailable, Refused):
            self._seen = dict([*(seen | self._seen).items()][:MOST])
        except asyncio.CancelledError:
            self._seen = seen | self._seen
            raise

    async def keep_writing(self) -> None:
        """Write for ever."""
        while True:
            await asyncio.sleep(EVERY)
            await self.write()
