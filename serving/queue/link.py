"""One connected socket of the client: the objects that it bound, and the answers that it waits for."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.errors import BrokerUnavailable, ProtocolError, Refused
from serving.queue import memory, wire
from serving.queue.connection import Connection
from serving.queue.limits import check_size
from serving.queue.own_pool import OwnPool
from serving.queue.wire import Interface, Message

_MAX_BODY = 1 << 30
_PROTOCOL = wire.load_clarion()
_REASONS = {number: name for name, number in _PROTOCOL["clarion_manager_v1"].enums["reason"].items()}
_DISPLAY, _REGISTRY, _MANAGER, _PRODUCER, _DIRECTORY, _FIRST_FREE = 1, 2, 3, 4, 5, 6
_POOL = 16 << 20  # octets; memory is taken as bodies first use it
_SENT = "pool of what is sent"

Handler = Callable[[str, list[Any]], None]


class Link:
    """Binds the manager, a producer and a directory; consumers are added. When it ends, every waiter learns it."""

    def __init__(self, sock: socket.socket) -> None:
        self._objects: dict[int, tuple[Interface, Handler]] = {}
        self._names: dict[str, int] = {}
        self._requests: dict[tuple[str, str], tuple[int, Message]] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids: dict[int, list[tuple[int, int]]] = {}
        self._ended: list[Callable[[BrokerUnavailable], None]] = []
        self._next_id = _FIRST_FREE
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
        object_id, message = self._requests[target, name]
        self._connection.send(object_id, message, *values)

    def request_with_body(self, target: str, name: str, *values: Any, body: bytes) -> None:
        """`name` with the body inline when the message stays within its limit, else through the pool where the request
        has a `name_pool` and there is room, else `name_fd` with a sealed memfd.

        Refused `too_large` for a body that the broker would not take.
        """
        check_size(len(body), self.max_body, "a body")
        rest = sum(len(value.encode() if isinstance(value, str) else value) + 8 for value in values if _is_text(value))
        if len(body) + rest <= memory.MAX_INLINE:
            self.request(target, name, *values, body)
            return
        if (target, f"{name}_pool") in self._requests:
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
        object_id = self._new_id()
        self._add(name, object_id, "clarion_consumer_v1", handler)
        self.request("manager", "create_consumer", object_id, stage, int(visibility * 1000))
        self.request(name, "use_pool", self._pool(_pool_of(name))[0])

    def remove_consumer(self, name: str) -> None:
        """Destroy a consumer; what the broker sends until it knows is ignored."""
        if not self.is_closed:
            self.request(name, "destroy")
        self._drop(name)
        if not self.is_closed:
            self.request(_pool_of(name), "destroy")
        self._drop(_pool_of(name))
        self._pools.pop(_pool_of(name)).close()

    def when_ended(self, callback: Callable[[BrokerUnavailable], None]) -> None:
        """Call it once, when the connection is over."""
        self._ended.append(callback)

    def forget(self, callback: Callable[[BrokerUnavailable], None]) -> None:
        """Do not call it."""
        self._ended.remove(callback)

    def _bind(self) -> None:
        manager = _PROTOCOL["clarion_manager_v1"]
        self._add("display", _DISPLAY, "wl_display", self._on_display)
        self._add("registry", _REGISTRY, "wl_registry", self._ignore)
        self._add("manager", _MANAGER, manager.name, self._on_manager)
        self._add("producer", _PRODUCER, "clarion_producer_v1", self._on_producer)
        self._add("directory", _DIRECTORY, "clarion_directory_v1", self._on_directory)
        self.request("display", "get_registry", _REGISTRY)
        self.request("registry", "bind", 1, manager.name, manager.version, _MANAGER)
        self.request("manager", "create_producer", _PRODUCER)
        self.request("manager", "create_directory", _DIRECTORY)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _pool(self, name: str) -> tuple[int, OwnPool]:
        """The pool of that name and its id, made when it is first asked for."""
        if name not in self._pools:
            self._pools[name] = pool = OwnPool(_POOL)
            self._add(name, self._new_id(), "clarion_pool_v1", pool.on_event)
            self.request("manager", "create_pool", self._names[name], os.dup(pool.fd), pool.size)
        return self._names[name], self._pools[name]

    def _drop(self, name: str) -> None:
        """Forget an object that was destroyed; its id stays until the broker has said that it is free."""
        object_id = self._names.pop(name)
        interface = self._objects[object_id][0]
        self._objects[object_id] = (interface, self._ignore)
        for message in interface.requests:
            del self._requests[name, message.name]

    def _add(self, name: str, object_id: int, interface_name: str, handler: Handler) -> None:
        interface = _PROTOCOL[interface_name]
        self._objects[object_id] = (interface, handler)
        self._names[name] = object_id
        for message in interface.requests:
            self._requests[name, message.name] = (object_id, message)

    def _incoming(self, object_id: int, opcode: int, payload: memoryview, fds: "deque[int]") -> None:
        found = self._objects.get(object_id)
        if found is None or opcode >= len(found[0].events):
            raise ProtocolError("the broker sent an event that is none")
        interface, handler = found
        message = interface.events[opcode]
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
        name = next((name for name, id_ in self._names.items() if id_ == object_id), None)
        if name is None:
            return b""
        body = self._pools[_pool_of(name)].get(offset, size)
        self.request(name, "release", offset)
        return body

    def _ignore(self, name: str, values: list[Any]) -> None:
        """Events that carry nothing for this client."""

    def _on_display(self, name: str, values: list[Any]) -> None:
        if name == "error":
            self._reason = f"the broker ended the connection: {values[2]}"
        elif name == "delete_id":
            self._objects.pop(values[0], None)

    def _on_manager(self, name: str, values: list[Any]) -> None:
        if name == "limits":
            self.max_body = values[1]
        elif name == "done" and not self.ready.done():
            self.ready.set_result(None)

    def _on_producer(self, name: str, values: list[Any]) -> None:
        if name == "credit":
            for _ in range(values[0]):
                self._credit.release()
        elif name == "notification":
            serial, *words = values
            self._ids.setdefault(serial, []).append((words[0], words[1]))
        elif name == "accepted":
            serial, *rest = values
            self._settle(serial, [*self._ids.pop(serial, []), tuple(rest)])
        elif name == "rejected":
            self._settle(values[0], refusal(values[1], values[2]))

    def _on_directory(self, name: str, values: list[Any]) -> None:
        if name == "answer":
            self._settle(*values)
        elif name == "refused":
            self._settle(values[0], refusal(values[1], values[2]))

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


def _is_text(value: Any) -> bool:
    return isinstance(value, bytes | str)


def refusal(reason: int, detail: str) -> Refused:
    """The refusal with its reason's name."""
    return Refused(_REASONS.get(reason, "malformed"), detail)
