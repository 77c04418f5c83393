"""The broker: one process that owns the store and serves it over Wayland on a Unix socket.

python -m serving.queue.broker --socket S --store F --topology T [--policy P]
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from serving.errors import ClarionError, ConfigurationError
from serving.queue import policy as policies
from serving.queue import wire
from serving.queue.consumer import Consumer
from serving.queue.dispatch import Dispatcher, Worker
from serving.queue.policy import Policy
from serving.queue.session import Session
from serving.queue.store import hops
from serving.queue.store.committer import Committer
from serving.queue.store.database import open_database
from serving.queue.topology import Topology

TICK = 0.25
MAX_SESSIONS = 512

_log = logging.getLogger(__name__)


class Broker:
    """Sessions, the dispatcher and the committer of one store."""

    def __init__(self, store: Path, topology: Topology, policy: Policy, *, max_body: int = 26 << 20) -> None:
        self.topology, self.policy, self.max_body = topology, policy, max_body
        self.protocol = wire.load_clarion()
        self.reasons = self.protocol["clarion_manager_v1"].enums["reason"]
        self.committer = Committer(open_database(store), topology, touched=self._touched)
        self.dispatcher = Dispatcher(self.committer, _is_open)
        self._sessions: set[Session] = set()
        self._watched: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()

    async def serve(self, path: Path, stop: asyncio.Event) -> None:
        """Accept connections until `stop`; leases of processes that are gone return first."""
        await self._recover()
        listener = listen(path)
        self._loop.add_reader(listener, self._accept, listener)
        _log.info("broker ready on %s", path.name)
        try:
            while not stop.is_set():
                await self._tick(stop)
        finally:
            self._loop.remove_reader(listener)
            listener.close()
            for session in list(self._sessions):
                session.close()
            self.committer.close()

    def _touched(self, stages: set[str]) -> None:
        for stage in stages:
            self.dispatcher.wake(stage)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            sock, _ = listener.accept()
            if len(self._sessions) >= MAX_SESSIONS:
                sock.close()
                return
            peer = policies.peer_of(sock)
            self._sessions.add(Session(self, sock, peer, self._sessions.discard))
            self._watch(peer.owner)

    async def _recover(self) -> None:
        """After a restart: keep the leases of processes that live, return the others."""
        owners = await self.committer.run(lambda transaction: [row["owner"] for row in transaction.all("owners")])
        for owner in owners:
            self._watch(owner)

    def _watch(self, owner: str) -> None:
        """Return the process's leases at once when it ends (pidfd_open(2))."""
        if owner in self._watched:
            return
        try:
            fd = os.pidfd_open(int(owner.partition(":")[0]))
        except OSError:
            self._release(owner)
            return
        if not policies.is_alive(owner):
            os.close(fd)
            self._release(owner)
            return
        self._watched[owner] = fd
        self._loop.add_reader(fd, self._ended, owner, fd)

    def _ended(self, owner: str, fd: int) -> None:
        self._loop.remove_reader(fd)
        os.close(fd)
        self._watched.pop(owner, None)
        self._release(owner)

    def _release(self, owner: str) -> None:
        self.committer.submit(lambda transaction: hops.release(transaction, owner), lambda _: None)

    async def _tick(self, stop: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK)
        expired = await self.committer.run(hops.release_expired)
        for session in list(self._sessions) if expired else []:
            session.revoke({(row["id"], row["fence"]) for row in expired})
        self.dispatcher.wake_all()


def listen(path: Path) -> socket.socket:
    """A listening Unix socket; one that nobody answers any more is replaced. ConfigurationError when one does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    if path.exists():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.connect(str(path))
            raise ConfigurationError(f"a broker answers on {path.name} already; stop it first")
        path.unlink()
    listener.bind(str(path))
    listener.listen(128)
    return listener


def _is_open(worker: Worker) -> bool:
    return isinstance(worker, Consumer) and worker.is_open


async def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    topology = Topology.read(arguments.topology)
    policy = Policy.read(arguments.policy) if arguments.policy else Policy.own_uid()
    broker = Broker(arguments.store, topology, policy)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await broker.serve(arguments.socket, stop)


def main() -> int:
    """The command; 2 when it cannot start as it is set up."""
    parser = argparse.ArgumentParser(prog="python -m serving.queue.broker", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen on")
    parser.add_argument("--store", type=Path, required=True, help="SQLite file, made when there is none")
    parser.add_argument("--topology", type=Path, required=True, help="JSON of stages and edges")
    parser.add_argument("--policy", type=Path, help="JSON of rights by uid; without it the own uid may do everything")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if not hasattr(os, "pidfd_open"):
        print("the queue needs Linux (memfd, pidfd, SO_PEERCRED)", file=sys.stderr)
        return 2
    try:
        asyncio.run(run(parser.parse_args()))
    except ClarionError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
