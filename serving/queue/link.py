"""One connected socket of the client: the objects that it bound, and the answers that it waits for."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.errors import BrokerUnavailable, ProtocolError, Refused
from serving.queue import memory
from serving.queue.connection import Connection
from serving.queue.limits import check_size
from serving.queue.own_pool import OwnPool
from serving.queue.resource import join, unpack_ids
from serving.queue.table import PROTOCOL, Handler, Table, ignore

_MAX_BODY = 1 << 30
_REASONS = {number: name for name, number in PROTOCOL["clarion_manager_v1"].enums["reason"].items()}
_DISPLAY, _REGISTRY, _MANAGER, _PRODUCER, _DIRECTORY, _FIRST_FREE = 1, 2, 3, 4, 5, 6
_POOL = 16 << 20  # octets; memory is taken as bodies first use it
_SENT = "pool of what is sent"


class Link:
    """Binds the manager, a producer and a directory; consumers are added. When it ends, every waiter learns it."""

    def __init__(self, sock: socket.socket) -> None:
        self._table = Table(_FIRST_FREE)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids: dict[int, tuple[int, ...]] = {}
        self._ended: list[Callable[[BrokerUnavailable], None]] = []
        self._reason = "the broker went away; connect again"
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._credit = asyncio.Semaphore(0)
        self._connection = Connection(
            sock,
            incoming=self._incoming,
            closed=self._closed,
            failed=self._failed,
            max_unsent=1 << 28,
            max_unsent_fds=8192,
        )
        self.max_body = _MAX_BODY
        self._pools: dict[str, OwnPool] = {}
        self._bind()

    @classmethod
    async def open(cls, path: Path, *, within: float = 10.0) -> "Link":
        """Connect and bind; BrokerUnavailable when nobody answers within that many seconds."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, str(path))
        except OSError as error:
            sock.close()
            raise BrokerUnavailable("no broker answers on the socket; start it with `make serve`") from error
        except BaseException:
            sock.close()
            raise
        link = cls(sock)
        try:
            await asyncio.wait_for(link.ready, within)
        except BaseException as error:
            link.close()
            if isinstance(error, TimeoutError):
                raise BrokerUnavailable("the broker does not answer; try again later") from error
            raise
        return link

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over."""
        return self._connection.is_closed

    def close(self) -> None:
        """End it; whoever waits gets BrokerUnavailable."""
        self._connection.close()

    def request(self, target: str, name: str, *values: Any) -> None:
        """Send a request to a named object; BrokerUnavailable when the connection is over."""
        if self.is_closed:
            raise BrokerUnavailable(self._reason)
        object_id, message = self._table.request(target, name)
        self._connection.send(object_id, message, *values)

    def request_with_body(self, target: str, name: str, *values: Any, body: bytes, limit: int | None = None) -> None:
        """`name` with the body inline when the message stays within its limit, else through the pool where the request
        has a `name_pool` and there is room, else `name_fd` with a sealed memfd.

        Refused `too_large` for a body that the broker would not take (by default over `max_body`).
        """
        check_size(len(body), self.max_body if limit is None else limit, "a body")
        if memory.fits_inline(body, *values):
            self.request(target, name, *values, body)
            return
        if self._table.knows(target, f"{name}_pool"):
            pool_id, pool = self._pool(_SENT)
            offset = pool.put(body)
            if offset is not None:
                self.request(target, f"{name}_pool", *values, pool_id, offset, len(body))
                return
        fd = memory.share(body)
        try:
            self.request(target, f"{name}_fd", *values, fd, len(body))
        except BaseException:
            os.close(fd)
            raise

    async def echo(self, serial: int, octets: bytes) -> bytes:
        """Through the pool to the broker and back; Refused `too_large` where there is no room for twice as many."""
        _, pool = self._pool(_SENT)
        sent, back = pool.begin_echo(serial, octets)
        answer = self.expect(serial)
        self.request(_SENT, "echo", serial, sent, len(octets), back)
        echoed: bytes = await answer
        return echoed

    async def use_credit(self) -> None:
        """Wait for room to publish one message; BrokerUnavailable when the connection ends first."""
        await self._credit.acquire()
        if self.is_closed:
            self._credit.release()  # the next one who waits must learn it too
            raise BrokerUnavailable(self._reason)

    def expect(self, serial: int) -> "asyncio.Future[Any]":
        """What will be answered under this serial."""
        future = self._answers[serial] = asyncio.get_running_loop().create_future()
        return future

    def add_consumer(self, name: str, stage: str, visibility: float, handler: Handler) -> None:
        """Make a consumer; its events go to the handler."""
        object_id = self._table.add(name, "clarion_consumer_v1", handler)
        self.request("manager", "create_consumer", object_id, stage, int(visibility * 1000))
        self.request(name, "use_pool", self._pool(_pool_of(name))[0])

    def remove_consumer(self, name: str) -> None:
        """Destroy a consumer; what the broker sends until it knows is ignored."""
        if not self.is_closed:
            self.request(name, "destroy")
        self._table.drop(name)
        if not self.is_closed:
            self.request(_pool_of(name), "destroy")
        self._table.drop(_pool_of(name))
        self._pools.pop(_pool_of(name)).close()

    def when_ended(self, callback: Callable[[BrokerUnavailable], None]) -> None:
        """Call it once, when the connection is over."""
        self._ended.append(callback)

    def forget(self, callback: Callable[[BrokerUnavailable], None]) -> None:
        """Do not call it."""
        self._ended.remove(callback)

    def _bind(self) -> None:
        manager = PROTOCOL["clarion_manager_v1"]
        self._table.add("display", "wl_display", self._on_display, _DISPLAY)
        self._table.add("registry", "wl_registry", ignore, _REGISTRY)
        self._table.add("manager", manager.name, self._on_manager, _MANAGER)
        self._table.add("producer", "clarion_producer_v1", self._on_producer, _PRODUCER)
        self._table.add("directory", "clarion_directory_v1", self._on_directory, _DIRECTORY)
        self.request("display", "get_registry", _REGISTRY)
        self.request("registry", "bind", 1, manager.name, manager.version, _MANAGER)
        self.request("manager", "create_producer", _PRODUCER)
        self.request("manager", "create_directory", _DIRECTORY)

    def _pool(self, name: str) -> tuple[int, OwnPool]:
        """The pool of that name and its id, made when it is first asked for."""
        if self.is_closed:
            raise BrokerUnavailable(self._reason)
        if name not in self._pools:
            self._pools[name] = pool = OwnPool(_POOL)
            id_ = self._table.add(name, "clarion_pool_v1", lambda event, values: self._on_pool(pool, event, values))
            self.request("manager", "create_pool", id_, os.dup(pool.fd), pool.size)
        return self._table.id_of(name), self._pools[name]

    def _incoming(self, object_id: int, opcode: int, payload: memoryview, fds: "deque[int]") -> None:
        message, handler = self._table.event(object_id, opcode)
        values = message.decode(payload, fds)
        if message.name.endswith("_fd"):
            *head, fd, size = values
            handler(message.name.removesuffix("_fd"), [*head, memory.receive(fd, size, _MAX_BODY)])
        elif message.name.endswith("_pool"):
            *head, offset, size = values
            handler(message.name.removesuffix("_pool"), [*head, self._copied(object_id, offset, size)])
        else:
            handler(message.name, values)

    def _copied(self, object_id: int, offset: int, size: int) -> bytes:
        """The body that lies in a consumer's pool, its region released; nothing for a consumer that was removed."""
        name = self._table.name_of(object_id)
        if name is None:
            return b""
        body = self._pools[_pool_of(name)].get(offset, size)
        self.request(name, "release", offset)
        return body

    def _on_display(self, name: str, values: list[Any]) -> None:
        if name == "error":
            self._reason = f"the broker ended the connection: {values[2]}"
        elif name == "delete_id":
            self._table.freed(values[0])

    def _on_manager(self, name: str, values: list[Any]) -> None:
        if name == "limits":
            self.max_body = values[1]
        elif name == "done" and not self.ready.done():
            self.ready.set_result(None)

    def _on_producer(self, name: str, values: list[Any]) -> None:
        if name == "credit":
            for _ in range(values[0]):
                self._credit.release()
        elif name == "notifications":
            serial, ids = values
            self._ids[serial] = self._ids.get(serial, ()) + unpack_ids(ids)
        elif name == "accepted":
            serial, high, low, duplicate, ids = values
            self._settle(serial, (join(high, low), self._ids.pop(serial, ()) + unpack_ids(ids), bool(duplicate)))
        elif name == "rejected":
            self._settle(values[0], refusal(values[1], values[2]))

    def _on_directory(self, name: str, values: list[Any]) -> None:
        if name == "answer":
            self._settle(*values)
        elif name == "refused":
            self._settle(values[0], refusal(values[1], values[2]))

    def _on_pool(self, pool: OwnPool, name: str, values: list[Any]) -> None:
        if name == "echoed":
            self._settle(values[0], pool.echoed(values[0]))
        else:
            pool.on_event(name, values)

    def _settle(self, serial: int, answer: Any) -> None:
        future = self._answers.pop(serial, None)
        if future is None or future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _failed(self, error: ProtocolError) -> None:
        self._reason = f"the broker broke the protocol: {error}"
        self._connection.close()

    def _closed(self) -> None:
        error = BrokerUnavailable(self._reason)
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self._credit.release()
        for future in [self.ready, *self._answers.values()]:
            if not future.done():
                future.set_exception(error)
                future.exception()  # a waiter that is gone must not be warned about
        for callback in self._ended:
            callback(error)


def _pool_of(consumer: str) -> str:
    return f"pool of {consumer}"


def refusal(reason: int, detail: str) -> Refused:
    """The refusal with its reason's name."""
    return Refused(_REASONS.get(reason, "malformed"), detail)
