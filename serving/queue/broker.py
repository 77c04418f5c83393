"""The broker: one process that owns the store and serves it over Wayland on a Unix socket.

python -m serving.queue.broker --socket S --topology T [--store F] [--policy P]
"""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from serving.errors import ClarionError, ConfigurationError, NotThereYet, Refused
from serving.queue import collector, wire
from serving.queue import policy as policies
from serving.queue.consumer import Consumer
from serving.queue.dispatch import Dispatcher, Worker
from serving.queue.policy import Peer, Policy
from serving.queue.session import Session
from serving.queue.store import hops, retention
from serving.queue.store.books import Books
from serving.queue.store.committer import Committer, Done
from serving.queue.store.group import Verb
from serving.queue.store.opening import open_store
from serving.queue.store.reader import Reader, Snapshot
from serving.queue.topology import Topology

TICK = 0.25
RETENTION_TICK = 600.0
MAX_SESSIONS = 512
MAX_SESSIONS_OF_UID = 384

_log = logging.getLogger(__name__)


class Broker:
    """Sessions, the dispatcher, the committer and the reader of one store. `max_body` is octets, `retention` seconds:
    how long a body is kept once it has ended for all its recipients."""

    def __init__(
        self,
        store: str,
        topology: Topology,
        policy: Policy,
        *,
        max_body: int = 26 << 20,
        retention: float,
        books: Books | None = None,
    ) -> None:
        self.topology, self.policy, self.max_body = topology, policy, max_body
        self._retention, self._forget_at = retention, 0.0
        self.protocol = wire.load_clarion()
        self.reasons = self.protocol["clarion_manager_v1"].enums["reason"]
        self._database = open_store(store)
        if books is not None:
            books.check(self._database)
        self.committer = Committer(self._database, topology, touched=self._touched)
        self.reader = Reader(self._database.reader(), topology)
        self._glances = None if self._database.is_shared else Snapshot(self._database.reader(), topology)
        self.dispatcher = Dispatcher(self.committer, _is_open)
        self._sessions: set[Session] = set()
        self._watched: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._database.listen(self._heard)

    async def serve(self, path: Path, stop: asyncio.Event) -> None:
        """Accept connections until `stop`; leases of processes that are gone return first."""
        try:
            await self._recover()
            with _listening(path, shared=self.policy.is_shared) as listener:
                await self._serve(listener, stop)
        finally:
            for session in list(self._sessions):
                session.close()
            self.reader.close()
            if self._glances is not None:
                self._glances.close()
            self.committer.close()

    def glance(self, query: Verb, done: Done) -> bool:
        """Answer the question at once: where the store is a file of this machine it takes microseconds, and waits for
        no commit. False where it is not."""
        if self._glances is None:
            return False
        done(self._glances.answer(query))
        return True

    def held(self, owner: str, stage: str) -> set[int]:
        """The ids of the stage's notifications that consumers of that process hold."""
        return {id_ for session in self._sessions for id_ in session.held(owner, stage)}

    async def _serve(self, listener: socket.socket, stop: asyncio.Event) -> None:
        self._loop.add_reader(listener, self._accept, listener)
        _log.info("broker ready")
        try:
            while not stop.is_set():
                await self._tick(stop)
        finally:
            self._loop.remove_reader(listener)

    def _touched(self, stages: set[str]) -> None:
        for stage in stages:
            self.dispatcher.wake(stage)

    def _heard(self, stages: set[str]) -> None:
        """What another broker's transaction gave work to; called from the listening thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: this is the end
            self._loop.call_soon_threadsafe(self._touched, stages)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:  # no descriptor is left: those that wait in the backlog wait longer
            _log.error("no connection can be taken: %s", error.strerror)
            self._loop.remove_reader(listener)
            self._loop.call_later(1.0, self._listen_again, listener)
            return
        peer = policies.peer_of(sock)
        if self._is_full(peer):
            sock.close()
            return
        session = Session(self, sock, peer, self._gone)
        self._sessions.add(session)
        self._watch(session.owner)
        session.admit()

    def _listen_again(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener, self._accept, listener)

    def _is_full(self, peer: Peer) -> bool:
        of_uid = sum(1 for session in self._sessions if session.peer.uid == peer.uid)
        return len(self._sessions) >= MAX_SESSIONS or of_uid >= MAX_SESSIONS_OF_UID

    def _gone(self, session: Session) -> None:
        """A process that ended before its last leases came to it must not keep them."""
        self._sessions.discard(session)
        if session.owner not in self._watched:
            self._release(session.owner)

    async def _recover(self) -> None:
        """After a restart: keep the leases of processes that live, return the others."""
        owners = await self.committer.run(lambda transaction: [row["owner"] for row in transaction.all("owners")])
        for owner in owners:
            self._watch(owner)

    def _watch(self, owner: str) -> None:
        """Return the process's leases at once when it ends (pidfd_open(2))."""
        if owner in self._watched:
            return
        if self._database.is_shared and not policies.is_of_here(owner):
            return  # another machine's broker watches it, and its time ends as any other's
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
        try:
            expired = await self.committer.run(hops.release_expired)
        except Refused:  # the store fails, and the committer said so
            return
        for session in list(self._sessions) if expired else []:
            session.revoke({(row["id"], row["fence"]) for row in expired})
        self._forget()
        self.dispatcher.wake_all()

    def _forget(self) -> None:
        """What is older than the time of retention, some at a time; again at once while there is more."""
        if self._loop.time() < self._forget_at:
            return
        self._forget_at = self._loop.time() + RETENTION_TICK

        def done(answer: bool | Refused) -> None:
            if answer is True:
                self._forget_at = 0.0

        self.committer.submit(lambda transaction: retention.forget(transaction, self._retention), done)


@contextlib.contextmanager
def _listening(path: Path, *, shared: bool) -> Iterator[socket.socket]:
    """`listen`, and no socket is left at the path afterwards; the store's lock says that it is still this broker's."""
    with contextlib.closing(listen(path, shared=shared)) as listener:
        yield listener
    path.unlink(missing_ok=True)


def listen(path: Path, *, shared: bool = False) -> socket.socket:
    """A listening Unix socket, open to other uids when `shared`; one that nobody answers any more is replaced.

    ConfigurationError when somebody does answer, or when the path is no place for a socket.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        _clear(path)
        _bind(listener, path, 0o111 if shared else 0o177)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"no socket can be made at {path.name}: {error}; check the folder") from error
    except ConfigurationError:
        listener.close()
        raise
    return listener


def _bind(listener: socket.socket, path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)


def _clear(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise ConfigurationError(f"{path.name} is no socket; name another place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        raise ConfigurationError(f"a broker answers on {path.name} already; stop it first")
    path.unlink()


def _is_open(worker: Worker) -> bool:
    return isinstance(worker, Consumer) and worker.is_open


async def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    _raise_descriptor_limit()
    collector.relax()
    topology = Topology.read(arguments.topology)
    policy = Policy.read(arguments.policy) if arguments.policy else Policy.own_uid()
    books = Books(arguments.currency, arguments.provider) if arguments.currency and arguments.provider else None
    broker = Broker(arguments.store, topology, policy, retention=arguments.retention * 86_400.0, books=books)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await broker.serve(arguments.socket, stop)


def _raise_descriptor_limit() -> None:
    """Each connection, each process that is watched and each large body on its way takes a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """The command; 2 when it cannot start as it is set up, 75 when its store may be had in a moment."""
    parser = argparse.ArgumentParser(prog="python -m serving.queue.broker", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen on")
    parser.add_argument(
        "--store",
        default=os.environ.get("CLARION_DATABASE"),
        help="SQLite file, made when there is none, or a postgresql:// URL; left out: what CLARION_DATABASE says",
    )
    parser.add_argument("--topology", type=Path, required=True, help="JSON of stages and edges")
    parser.add_argument("--policy", type=Path, help="JSON of rights by uid; without it the own uid may do everything")
    parser.add_argument("--retention", type=float, default=30.0, help="days that bodies and keys are kept afterwards")
    parser.add_argument("--currency", help="with --provider: start only where the ledger is kept in these two")
    parser.add_argument("--provider", help="whoever keeps the money that wallets hold")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if not hasattr(os, "pidfd_open"):
        print("the queue needs Linux (memfd, pidfd, SO_PEERCRED)", file=sys.stderr)
        return 2
    arguments = parser.parse_args()
    if not arguments.store:
        parser.error("name a store: --store, or CLARION_DATABASE")
    try:
        asyncio.run(run(arguments))
    except NotThereYet as error:
        print(error, file=sys.stderr)
        return os.EX_TEMPFAIL
    except ClarionError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
