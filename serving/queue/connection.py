"""One end of a Wayland connection: octets and descriptors in and out of a Unix socket, in an asyncio loop."""

import array
import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from serving.errors import ProtocolError
from serving.queue.frames import Frames
from serving.queue.wire import MAX_FDS, Message

_CHUNK = 1 << 16
_ANCILLARY = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)

_CONGESTED = 1 << 18
_CLOSE_ON_EXEC, _CUT_SHORT = int(socket.MSG_CMSG_CLOEXEC), int(socket.MSG_CTRUNC)  # an enum's & takes microseconds

Incoming = Callable[[int, int, memoryview, "deque[int]"], None]

_log = logging.getLogger(__name__)


class Connection:
    """Frames messages: `incoming(object_id, opcode, payload, fds)` for each, `closed()` once, at the end.

    What `incoming` raises ends the connection through `failed`. `drained` is called when a peer that fell behind has
    caught up. A peer that leaves more than `max_unsent` octets or `max_unsent_fds` descriptors unread is cut off.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        incoming: Incoming,
        closed: Callable[[], None],
        failed: Callable[[ProtocolError], None],
        drained: Callable[[], None] = lambda: None,
        max_unsent: int = 8 << 20,
        max_unsent_fds: int = 512,
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._incoming, self._closed, self._failed, self._drained = incoming, closed, failed, drained
        self._max_unsent, self._max_unsent_fds = max_unsent, max_unsent_fds
        self._frames = Frames()
        self._fds_in: deque[int] = deque()
        self._unsent: deque[_Chunk] = deque()
        self._unsent_octets = self._unsent_fds = 0
        self._flush_planned = self._writing = self._over = self._paused = self._awaited = False
        self._loop.add_reader(sock, self._readable)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over."""
        return self._over

    @property
    def is_congested(self) -> bool:
        """Whether the peer is far behind; whoever asked is told by `drained` when it has caught up."""
        congested = self._unsent_octets > _CONGESTED or self._unsent_fds > 2 * MAX_FDS
        self._awaited |= congested
        return congested

    def pause(self) -> None:
        """Read nothing more until `resume`; the peer waits in its own buffer."""
        if not self._paused and not self._over:
            self._paused = True
            self._loop.remove_reader(self._socket)

    def resume(self) -> None:
        """Read again."""
        if self._paused and not self._over:
            self._paused = False
            self._loop.add_reader(self._socket, self._readable)

    def send(self, object_id: int, message: Message, *values: Any) -> None:
        """Queue a message; its descriptors belong to the connection from now on. Sent at the end of this loop turn."""
        octets, fds = message.encode(object_id, values)
        if self._over:
            _close_all(fds)
            return
        chunk = self._unsent[-1] if self._unsent else None
        if chunk is None or chunk.size > _CHUNK or len(chunk.fds) + len(fds) > MAX_FDS:
            chunk = _Chunk()
            self._unsent.append(chunk)
        chunk.messages.append(octets)
        chunk.size += len(octets)
        self._unsent_octets += len(octets)
        if fds:
            chunk.fds += fds
            self._unsent_fds += len(fds)
        if self._unsent_octets > self._max_unsent or self._unsent_fds > self._max_unsent_fds:
            self.close()
        elif not self._flush_planned and not self._writing:
            self._flush_planned = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what the socket takes now; the rest follows when it can."""
        self._flush_planned = False
        try:
            while self._unsent and not self._over:
                self._send_first()
        except BlockingIOError:
            self._wait_writable()
            return
        except OSError:
            self.close()
            return
        self._stop_writing()
        if self._awaited:
            self._awaited = False
            self._drained()

    def close(self) -> None:
        """End the connection at once; `closed` is called the first time."""
        if self._over:
            return
        self._over = True
        self._loop.remove_reader(self._socket)
        self._stop_writing()
        self._socket.close()
        _close_all(self._fds_in)
        for chunk in self._unsent:
            _close_all(chunk.fds)
        self._unsent.clear()
        self._closed()

    def _send_first(self) -> None:
        chunk = self._unsent[0]
        octets, fds = b"".join(chunk.messages), chunk.fds
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self._socket.sendmsg([octets], ancillary)
        except BlockingIOError:
            chunk.messages = [octets]
            raise
        _close_all(fds)
        self._unsent_fds -= len(fds)
        self._unsent_octets -= sent
        if sent == len(octets):
            self._unsent.popleft()
        else:
            chunk.messages, chunk.size, chunk.fds = [octets[sent:]], len(octets) - sent, []

    def _wait_writable(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._socket, self.flush)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            octets, ancillary, flags, _ = self._socket.recvmsg(_CHUNK, _ANCILLARY, _CLOSE_ON_EXEC)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(value[: len(value) - len(value) % fds.itemsize])
                self._fds_in.extend(fds)
        if not octets or flags & _CUT_SHORT:
            self.close()
            return
        self._flush_planned = True  # below: what is answered at once goes out without another turn of the loop
        self._dispatch(octets)
        if not self._writing and not self._over:
            self.flush()

    def _dispatch(self, octets: bytes) -> None:
        try:
            self._parse(octets)
        except ProtocolError as error:
            if not self._over:
                self._failed(error)
        except Exception:
            _log.exception("a message could not be handled")
            if not self._over:
                self._failed(ProtocolError("a message could not be handled"))

    def _parse(self, octets: bytes) -> None:
        for object_id, opcode, payload in self._frames.whole(octets):
            self._incoming(object_id, opcode, payload, self._fds_in)
            if self._over:
                return
        if len(self._fds_in) > 2 * MAX_FDS:
            raise ProtocolError("more descriptors than messages that take them")


@dataclass(slots=True)
class _Chunk:
    """Messages that go out in one sendmsg, with their descriptors; `size` in octets."""

    messages: list[bytes] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    size: int = 0


def _close_all(fds: "deque[int] | list[int]") -> None:
    for fd in fds:
        with suppress(OSError):
            os.close(fd)
    if isinstance(fds, deque):
        fds.clear()
