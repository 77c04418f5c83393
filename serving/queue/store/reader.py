"""Questions beside the transactions: long ones from a snapshot in a thread of their own, so that no commit waits for
them; short ones at once, in the caller's."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from serving.errors import Refused
from serving.queue.store.committer import Done
from serving.queue.store.database import Database
from serving.queue.store.group import Verb, attempt
from serving.queue.store.transaction import Identifiers, Transaction
from serving.queue.topology import Topology

_log = logging.getLogger(__name__)


class Reader:
    """Runs queries one after the other on what was committed when each begins. `done` callbacks run in the loop."""

    def __init__(self, database: Database, topology: Topology) -> None:
        self._snapshot = Snapshot(database, topology)
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "reader")

    def submit(self, query: Verb, done: Done) -> None:
        """Answer the query; a store that fails is the refusal `storage`."""
        self._thread.submit(self._work, query, done)

    def close(self) -> None:
        """Interrupt what runs, forget what waits, and close the snapshot."""
        self._snapshot.interrupt()
        self._thread.shutdown(cancel_futures=True)
        self._snapshot.close()

    def _work(self, query: Verb, done: Done) -> None:
        answer = self._snapshot.answer(query)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(done, answer)


class Snapshot:
    """A connection that only reads, used by one thread at a time."""

    def __init__(self, database: Database, topology: Topology) -> None:
        self._database, self._topology = database, topology

    def answer(self, query: Verb) -> Any:
        """What the query finds in what is committed now; Refused, `storage` where the store fails."""
        try:
            now = self._database.begin_reading()
            try:
                return attempt(query, Transaction(self._database, self._topology, Identifiers(), now))[0]
            finally:
                self._database.roll_back()
        except self._database.failures as error:
            _log.error("the store failed: %s", error)
            return Refused("storage", "the durable store failed; try again later")

    def interrupt(self) -> None:
        """End what runs, from another thread."""
        self._database.interrupt()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()
