"""The objects every session begins with: display, registry, callback, and the manager that makes the others."""

import os

from serving.errors import ProtocolError
from serving.queue import memory
from serving.queue.consumer import MAX_CREDIT, Consumer
from serving.queue.directory import Directory
from serving.queue.limits import MAX_FACTS
from serving.queue.pool import MAX_POOL, MAX_POOLS, Pool
from serving.queue.producer import Producer
from serving.queue.resource import Resource

_GLOBAL = 1


class Display(Resource):
    """wl_display: object 1."""

    interface_name = "wl_display"

    def on_sync(self, callback: int) -> None:
        """Answer once everything before it was read."""
        resource = Callback(self.session)
        self.session.add(callback, resource)
        resource.event("done", 0)
        self.session.remove(resource)

    def on_get_registry(self, registry: int) -> None:
        """Announce the one global."""
        resource = Registry(self.session)
        self.session.add(registry, resource)
        manager = self.session.broker.protocol[Manager.interface_name]
        resource.event("global", _GLOBAL, manager.name, manager.version)


class Callback(Resource):
    """wl_callback: answers once."""

    interface_name = "wl_callback"


class Registry(Resource):
    """wl_registry: binds the global."""

    interface_name = "wl_registry"

    def on_bind(self, name: int, interface: str, version: int, new_id: int) -> None:
        """Make the manager."""
        manager = self.session.broker.protocol[Manager.interface_name]
        if name != _GLOBAL or interface != manager.name or not 0 < version <= manager.version:
            raise ProtocolError("no such global", object_id=1, code=0)
        resource = Manager(self.session)
        self.session.add(new_id, resource)
        resource.announce()


class Manager(Resource):
    """clarion_manager_v1: limits, stages, and the way to everything else."""

    interface_name = "clarion_manager_v1"

    def announce(self) -> None:
        """Say what this broker takes and what this peer may use."""
        broker, rights = self.session.broker, self.session.rights
        self.event("limits", memory.MAX_INLINE, broker.max_body, MAX_FACTS, MAX_CREDIT, MAX_POOL)
        permissions = self.interface.enums["permission"]
        for stage in broker.topology.places:
            publish = rights.publish and stage == broker.topology.entry
            granted = publish * permissions["publish"] | rights.may_consume(stage) * permissions["consume"]
            if granted:
                self.event("stage", stage, granted)
        self.event("done")

    def on_create_producer(self, new_id: int) -> None:
        """Start publishing."""
        producer = Producer(self.session)
        self.session.add(new_id, producer)
        producer.open()

    def on_create_consumer(self, new_id: int, stage: str, visibility_ms: int) -> None:
        """Start consuming."""
        consumer = Consumer(self.session, stage, visibility_ms / 1000)
        self.session.add(new_id, consumer)
        consumer.open()

    def on_create_directory(self, new_id: int) -> None:
        """Ask and command."""
        self.session.add(new_id, Directory(self.session))

    def on_create_pool(self, new_id: int, fd: int, size: int) -> None:
        """Share memory; the descriptor is the pool's from now on."""
        try:
            self._check_pool(fd, size)
            self.session.add(new_id, Pool(self.session, fd, size))
        except BaseException:
            os.close(fd)
            raise

    def _check_pool(self, fd: int, size: int) -> None:
        if self.session.count(Pool) >= MAX_POOLS:
            raise self.error("too_many_objects", f"at most {MAX_POOLS} pools; destroy some")
        if size > MAX_POOL:
            raise self.error("bad_fd", f"a pool has at most {MAX_POOL} octets")
        try:
            memory.check_pool(fd, size)
        except ProtocolError as error:
            raise self.error("bad_fd", str(error)) from error
