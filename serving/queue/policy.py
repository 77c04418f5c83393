"""Who may do what: one rule for each (uid, queue, direction), from a JSON file; a peer is its SO_PEERCRED uid.

{"peers": [{"uid": 0, "publish": true, "consume": ["*"], "directory": ["*"]}]}
"""

import json
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from serving.errors import ConfigurationError

_CREDENTIALS = struct.Struct("=iII")


@dataclass(frozen=True, slots=True)
class Peer:
    """A process at the other end of a socket. `owner` names it beyond the reuse of its pid."""

    pid: int
    uid: int

    @property
    def owner(self) -> str:
        """`pid:start time:place`: clock ticks since boot (proc(5) field 22), and where such pids count."""
        return f"{self.pid}:{start_time(self.pid)}:{here()}"


@dataclass(frozen=True, slots=True)
class Rights:
    """What one uid may do; `*` stands for all."""

    publish: bool = False
    consume: frozenset[str] = frozenset()
    directory: frozenset[str] = frozenset()

    def may_consume(self, stage: str) -> bool:
        """Whether it may work for the stage."""
        return bool(self.consume & {stage, "*"})

    def may_ask(self, name: str) -> bool:
        """Whether it may run the query or command."""
        return bool(self.directory & {name, "*"})


NOBODY = Rights()
ALL = Rights(True, frozenset("*"), frozenset("*"))


@dataclass(frozen=True, slots=True)
class Policy:
    """Rights by uid; who is not named has none."""

    rights: Mapping[int, Rights]

    def of(self, peer: Peer) -> Rights:
        """The peer's rights."""
        return self.rights.get(peer.uid, NOBODY)

    @property
    def is_shared(self) -> bool:
        """Whether any other uid than the broker's has rights."""
        return any(rights != NOBODY for uid, rights in self.rights.items() if uid != os.getuid())

    @classmethod
    def own_uid(cls) -> "Policy":
        """Everything for the broker's own uid, nothing for any other."""
        return cls({os.getuid(): ALL})

    @classmethod
    def read(cls, path: Path) -> "Policy":
        """The policy in that file; ConfigurationError when it is none."""
        try:
            peers = json.loads(path.read_text(encoding="utf-8"))["peers"]
            return cls({int(peer["uid"]): _rights(peer) for peer in peers})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{path.name} is no policy; see the docstring of serving.queue.policy") from error


def peer_of(sock: socket.socket) -> Peer:
    """Who connected (unix(7), SO_PEERCRED)."""
    octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(octets)
    return Peer(pid, uid)


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def is_alive(owner: str) -> bool:
    """Whether the process that `owner` names still runs."""
    if not is_of_here(owner):
        return False
    pid, started, _ = owner.split(":")
    return started != "0" and start_time(int(pid)) == int(started)


def is_of_here(owner: str) -> bool:
    """Whether `owner` names a process of this boot of this machine, in this pid namespace."""
    return owner.count(":") == 2 and owner.endswith(f":{here()}")


@cache
def here() -> str:
    """This boot and pid namespace: two processes with one pid and one start time differ in it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return f"{boot[:8]}-{Path('/proc/self/ns/pid').stat().st_ino}"


def _rights(peer: Mapping[str, object]) -> Rights:
    consume, directory = peer.get("consume", []), peer.get("directory", [])
    if not isinstance(consume, list) or not isinstance(directory, list):
        raise TypeError("consume and directory are lists")
    return Rights(bool(peer.get("publish")), frozenset(consume), frozenset(directory))
