"""The broker's client for programs without asyncio: publish and ask, one thing after the other."""

import array
import itertools
import json
import os
import socket
from collections import deque
from pathlib import Path
from typing import Any, Self

from serving.errors import BrokerUnavailable, ProtocolError, Refused
from serving.queue import memory, wire
from serving.queue.client import Accepted, Submission, check
from serving.queue.link import refusal
from serving.queue.own_pool import OwnPool
from serving.queue.resource import join
from serving.queue.values import encode
from serving.queue.wire import HEADER, MAX_FDS, MAX_MESSAGE

_PROTOCOL = wire.load_clarion()
_NAMES = ("wl_display", "wl_registry", "clarion_manager_v1", "clarion_producer_v1", "clarion_directory_v1")
_DISPLAY, _REGISTRY, _MANAGER, _PRODUCER, _DIRECTORY, _POOL = 1, 2, 3, 4, 5, 6
_KINDS = dict(zip(range(1, 7), (*(_PROTOCOL[name] for name in _NAMES), _PROTOCOL["clarion_pool_v1"]), strict=True))
_POOL_SIZE, _MAX_BODY = 16 << 20, 1 << 30
_ANCILLARY = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)

Event = tuple[int, str, list[Any]]


class BlockingClient:
    """One connection, for one thread at a time. It raises what `Client` does; a lost connection stays lost."""

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        self._serials = itertools.count(1)
        self._unread, self._fds, self._events = b"", deque[int](), deque[Event]()
        self._pool = OwnPool(_POOL_SIZE)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout)
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
        serial = self._serial()
        for recipient in submission.recipients:
            self._send(_PRODUCER, "recipient", recipient.lookup, recipient.address)
        head = (serial, 0 if submission.urgent else 1, submission.principal, submission.key, submission.digest, facts)
        self._send_body(_PRODUCER, "accept", *head, body=submission.body)
        ids: list[int] = []
        while True:
            name, values = self._answer(_PRODUCER, serial)
            if name == "notification":
                ids.append(join(values[1], values[2]))
            elif name == "rejected":
                raise refusal(values[1], values[2])
            else:
                return Accepted(join(values[1], values[2]), tuple(ids), bool(values[3]))

    def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """See `Client.query`."""
        serial = self._serial()
        self._send_body(_DIRECTORY, "ask", serial, name, body=encode(parameters))
        answered, values = self._answer(_DIRECTORY, serial)
        if answered == "refused":
            raise refusal(values[1], values[2])
        octets = memory.receive(values[1], values[2], _MAX_BODY) if answered == "answer_fd" else values[1]
        rows: list[dict[str, Any]] = json.loads(octets)
        return rows

    def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        """See `Client.execute`."""
        (row,) = self.query(name, **parameters)
        return row

    def echo(self, octets: bytes) -> bytes:
        """See `Client.echo`."""
        sent, back, serial = self._pool.put(octets), self._pool.take(len(octets)), self._serial()
        try:
            if sent is None or back is None:
                raise Refused("too_large", "the pool has no room for that")
            self._send(_POOL, "echo", serial, sent, len(octets), back)
            self._answer(_POOL, serial)
            return self._pool.get(back, len(octets))
        finally:
            for offset in (sent, back):
                if offset is not None:
                    self._pool.free(offset)

    def _bind(self) -> int:
        """Up to the manager's `done`; the largest body that the broker takes."""
        manager = _PROTOCOL["clarion_manager_v1"]
        self._send(_DISPLAY, "get_registry", _REGISTRY)
        self._send(_REGISTRY, "bind", 1, manager.name, manager.version, _MANAGER)
        self._send(_MANAGER, "create_producer", _PRODUCER)
        self._send(_MANAGER, "create_directory", _DIRECTORY)
        self._send(_MANAGER, "create_pool", _POOL, os.dup(self._pool.fd), self._pool.size)
        max_body = 0
        while True:
            object_id, name, values = self._next()
            if (object_id, name) == (_MANAGER, "limits"):
                max_body = values[1]
            elif (object_id, name) == (_MANAGER, "done"):
                return max_body

    def _serial(self) -> int:
        return next(self._serials) & 0xFFFFFFFF

    def _send_body(self, target: int, name: str, *values: Any, body: bytes) -> None:
        """Inline, through the pool where the request has such a form and there is room, or by memfd."""
        rest = sum(len(value) * 3 + 8 for value in values if isinstance(value, bytes | str))
        if len(body) + rest <= memory.MAX_INLINE:
            self._send(target, name, *values, body)
            return
        pooled = any(message.name == f"{name}_pool" for message in _KINDS[target].requests)
        offset = self._pool.put(body) if pooled else None
        if offset is None:
            self._send(target, f"{name}_fd", *values, memory.share(body), len(body))
        else:
            self._send(target, f"{name}_pool", *values, _POOL, offset, len(body))

    def _send(self, target: int, name: str, *values: Any) -> None:
        octets, fds = _KINDS[target].request(name).encode(target, values)
        try:
            sent = socket.send_fds(self._socket, [octets], fds)
            if sent < len(octets):
                self._socket.sendall(octets[sent:])
        except OSError as error:
            raise BrokerUnavailable("the broker went away; connect again") from error
        finally:
            for fd in fds:
                os.close(fd)

    def _answer(self, target: int, serial: int) -> tuple[str, list[Any]]:
        """The next event of that object that names the serial."""
        while True:
            object_id, name, values = self._next()
            if object_id == target and name != "credit" and values[0] == serial:
                return name, values

    def _next(self) -> Event:
        """The next event, but for those that are dealt with here."""
        while True:
            while not self._events:
                self._read()
            object_id, name, values = self._events.popleft()
            if (object_id, name) == (_DISPLAY, "error"):
                raise BrokerUnavailable(f"the broker ended the connection: {values[2]}")
            if (object_id, name) == (_POOL, "taken"):
                self._pool.on_event(name, values)
            else:
                return object_id, name, values

    def _read(self) -> None:
        try:
            octets, ancillary, _, _ = self._socket.recvmsg(1 << 16, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise BrokerUnavailable("the broker does not answer; try again later") from error
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._fds.extend(array.array("i", value))
        if not octets:
            raise BrokerUnavailable("the broker went away; connect again")
        self._unread += octets
        self._parse()

    def _parse(self) -> None:
        position = 0
        with memoryview(self._unread) as view:
            while len(view) - position >= HEADER.size:
                object_id, word = HEADER.unpack_from(view, position)
                size = word >> 16
                if size < HEADER.size or size > MAX_MESSAGE:
                    raise ProtocolError(f"a message of {size} octets")
                if len(view) - position < size:
                    break
                message = _KINDS[object_id].events[word & 0xFFFF]
                payload = view[position + HEADER.size : position + size]
                self._events.append((object_id, message.name, message.decode(payload, self._fds)))
                position += size
        self._unread = self._unread[position:]
