"""The broker's client for programs without asyncio: publish and ask, one thing after the other."""

import array
import itertools
import os
import socket
import struct
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Self

from serving.errors import BrokerUnavailable
from serving.queue import memory
from serving.queue.client import Accepted, Submission, check, head
from serving.queue.frames import Frames
from serving.queue.link import refusal
from serving.queue.own_pool import OwnPool
from serving.queue.resource import join, unpack_ids
from serving.queue.table import PROTOCOL, Table, ignore
from serving.queue.values import encode, from_json
from serving.queue.wire import MAX_FDS

_POOL_SIZE, _MAX_BODY = 16 << 20, 1 << 30
_CHUNK = 1 << 16
_ANCILLARY = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
_TIME = struct.Struct("@ll")  # struct timeval, socket(7)

Event = tuple[str, str, list[Any]]


class BlockingClient:
    """One connection, for one thread at a time. It raises what `Client` does; a lost connection stays lost."""

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        self._serials = itertools.count(1)
        self._frames, self._fds, self._events = Frames(), deque[int](), deque[Event]()
        self._table = Table(1)
        self._pool = OwnPool(_POOL_SIZE)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._limit(timeout)
        try:
            self._socket.connect(str(path))
            self._max_body = self._bind()
        except OSError as error:
            self.close()
            raise BrokerUnavailable("no broker answers on the socket; start it with `make serve`") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()
        self._pool.close()
        while self._fds:
            os.close(self._fds.popleft())

    def accept(self, submission: Submission) -> Accepted:
        """See `Client.accept`; returns after the commit."""
        facts = encode(dict(submission.facts))
        check(submission, facts, self._max_body)
        serial = self._publish(submission, facts)
        ids: tuple[int, ...] = ()
        while True:
            name, values = self._answer("producer", serial)
            if name == "notifications":
                ids += unpack_ids(values[1])
            elif name == "rejected":
                raise refusal(values[1], values[2])
            else:
                return Accepted(join(values[1], values[2]), ids + unpack_ids(values[4]), bool(values[3]))

    def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """See `Client.query`."""
        serial = self._serial()
        self._send_body("directory", "ask", serial, name, body=encode(parameters))
        answered, values = self._answer("directory", serial)
        if answered == "refused":
            raise refusal(values[1], values[2])
        octets = memory.receive(values[1], values[2], _MAX_BODY) if answered == "answer_fd" else values[1]
        rows: list[dict[str, Any]] = from_json(octets)
        return rows

    def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        """See `Client.execute`."""
        (row,) = self.query(name, **parameters)
        return row

    def echo(self, octets: bytes) -> bytes:
        """See `Client.echo`."""
        serial = self._serial()
        sent, back = self._pool.begin_echo(serial, octets)
        self._send("pool", "echo", serial, sent, len(octets), back)
        _, (_, echoed) = self._answer("pool", serial)
        whole: bytes = echoed
        return whole

    def _limit(self, timeout: float) -> None:
        """Let the kernel end what takes longer: a poll before every call would cost as much as the call."""
        seconds, rest = divmod(timeout, 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, _TIME.pack(int(seconds), int(rest * 1e6)))

    def _bind(self) -> int:
        """Up to the manager's `done`; the largest body that the broker takes."""
        manager = PROTOCOL["clarion_manager_v1"]
        self._add("display", "wl_display")
        self._send("display", "get_registry", self._table.add("registry", "wl_registry", ignore))
        self._send("registry", "bind", 1, manager.name, manager.version, self._add("manager", manager.name))
        self._send("manager", "create_producer", self._add("producer", "clarion_producer_v1"))
        self._send("manager", "create_directory", self._add("directory", "clarion_directory_v1"))
        pool = self._table.add("pool", "clarion_pool_v1", self._on_pool)
        self._send("manager", "create_pool", pool, os.dup(self._pool.fd), self._pool.size)
        max_body = 0
        while True:
            match self._next():
                case "manager", "limits", values:
                    max_body = values[1]
                case "manager", "done", _:
                    return max_body

    def _add(self, name: str, interface_name: str) -> int:
        """A new object, whose events wait to be read."""
        return self._table.add(name, interface_name, partial(self._heard, name))

    def _heard(self, target: str, name: str, values: list[Any]) -> None:
        self._events.append((target, name, values))

    def _on_pool(self, name: str, values: list[Any]) -> None:
        """What came back is copied at once, also where nobody waits for it any more: its regions are free again."""
        if name == "echoed":
            self._heard("pool", name, [values[0], self._pool.echoed(values[0])])
        else:
            self._pool.on_event(name, values)

    def _serial(self) -> int:
        return next(self._serials) & 0xFFFFFFFF

    def _publish(self, submission: Submission, facts: bytes) -> int:
        """Send all of it or end the connection: recipients that stay behind would get somebody else's mail."""
        serial = self._serial()
        try:
            for recipient in submission.recipients:
                self._send("producer", "recipient", recipient.lookup, recipient.address)
            if submission.key_each:
                self._send("producer", "key_each")
            self._send_body("producer", "accept", *head(serial, submission, facts), body=submission.body)
        except BaseException:
            self._socket.close()
            raise
        return serial

    def _send_body(self, target: str, name: str, *values: Any, body: bytes) -> None:
        """Inline, through the pool where the request has such a form and there is room, or by memfd."""
        if memory.fits_inline(body, *values):
            self._send(target, name, *values, body)
            return
        offset = self._pool.put(body) if self._table.knows(target, f"{name}_pool") else None
        if offset is None:
            self._send(target, f"{name}_fd", *values, memory.share(body), len(body))
        else:
            self._send(target, f"{name}_pool", *values, self._table.id_of("pool"), offset, len(body))

    def _send(self, target: str, name: str, *values: Any) -> None:
        object_id, message = self._table.request(target, name)
        octets, fds = message.encode(object_id, values)
        try:
            sent = socket.send_fds(self._socket, [octets], fds) if fds else self._socket.send(octets)
            if sent < len(octets):
                self._socket.sendall(octets[sent:])
        except OSError as error:
            raise self._lost("the broker went away; connect again") from error
        finally:
            for fd in fds:
                os.close(fd)

    def _answer(self, target: str, serial: int) -> tuple[str, list[Any]]:
        """The next event of that object that names the serial; answers that nobody waits for any more are passed by."""
        while True:
            heard, name, values = self._next()
            if heard == target and name != "credit" and values[0] == serial:
                return name, values
            if name.endswith("_fd"):
                os.close(values[1])

    def _next(self) -> Event:
        while not self._events:
            self._read()
        event = self._events.popleft()
        if event[:2] == ("display", "error"):
            raise self._lost(f"the broker ended the connection: {event[2][2]}")
        return event

    def _read(self) -> None:
        try:
            octets, ancillary, _, _ = self._socket.recvmsg(_CHUNK, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError as error:
            raise BrokerUnavailable("the broker does not answer; try again later") from error
        except OSError as error:
            raise self._lost("the broker went away; connect again") from error
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._fds.extend(array.array("i", value))
        if not octets:
            raise self._lost("the broker went away; connect again")
        for object_id, opcode, payload in self._frames.whole(octets):
            message, handler = self._table.event(object_id, opcode)
            handler(message.name, message.decode(payload, self._fds))

    def _lost(self, reason: str) -> BrokerUnavailable:
        """The connection is over: what was half sent or half read makes the rest of it meaningless."""
        self._socket.close()
        return BrokerUnavailable(reason)
