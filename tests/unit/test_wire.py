"""The codec against itself, against hostile octets, and over a real pair of sockets."""

import asyncio
import os
import socket
import struct
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ProtocolError, Refused
from serving.queue import memory
from serving.queue.connection import Connection
from serving.queue.values import json_object
from serving.queue.wire import HEADER, MAX_MESSAGE, Message, load_clarion

PROTOCOL = load_clarion()
MESSAGES = [message for interface in PROTOCOL.values() for message in (*interface.requests, *interface.events)]
WORDS = st.integers(0, 2**32 - 1)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


def open_fds() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def value_of(kind: str, nullable: bool) -> st.SearchStrategy[Any]:
    match kind:
        case "int" | "fixed":
            return st.integers(-(2**31), 2**31 - 1)
        case "uint" | "object" | "new_id":
            return WORDS
        case "string":
            return st.none() | TEXTS if nullable else TEXTS
        case "array":
            return st.binary(max_size=200)
        case _:
            return st.integers(3, 9)  # a descriptor's number: encoding does not look behind it


@st.composite
def calls(draw: st.DrawFn) -> tuple[Message, list[Any]]:
    message = draw(st.sampled_from(MESSAGES))
    return message, [draw(value_of(argument.type, argument.nullable)) for argument in message.arguments]


@given(calls(), WORDS)
def test_every_message_comes_out_as_it_went_in(call: tuple[Message, list[Any]], object_id: int) -> None:
    """The codec is compiled from the XML; one wrong offset would shift every later argument."""
    message, values = call
    octets, fds = message.encode(object_id, values)
    target, word = HEADER.unpack_from(octets)
    descriptors = deque(fds)
    decoded = message.decode(memoryview(octets)[HEADER.size :], descriptors)

    assert (target, word >> 16, word & 0xFFFF) == (object_id, len(octets), message.opcode)
    assert len(octets) % 4 == 0
    assert decoded == values
    assert not descriptors


@given(calls(), st.integers(0, 400), st.binary(max_size=12))
def test_a_cut_or_padded_message_is_a_protocol_error_and_gives_its_descriptors_back(
    call: tuple[Message, list[Any]], cut: int, more: bytes
) -> None:
    """Whoever reads past the end of a message reads somebody else's."""
    message, values = call
    octets, fds = message.encode(1, values)
    payload = octets[HEADER.size :][:cut] + more
    descriptors = deque(fds)
    try:
        message.decode(memoryview(payload), descriptors)
    except ProtocolError:
        assert list(descriptors) == fds
    else:
        assert len(descriptors) == 0


@settings(max_examples=400)
@given(st.sampled_from(MESSAGES), st.binary(max_size=300))
def test_hostile_octets_raise_nothing_but_a_protocol_error(message: Message, octets: bytes) -> None:
    """Any other exception would be a bug that a client can reach."""
    descriptors = deque([5, 6, 7])
    try:
        values = message.decode(memoryview(octets), descriptors)
    except ProtocolError:
        assert list(descriptors) == [5, 6, 7]
    else:
        assert len(values) == len(message.arguments)


def test_a_message_over_the_limit_is_not_sent() -> None:
    """4096 octets is the most that any Wayland peer reads."""
    accept = PROTOCOL["clarion_producer_v1"].request("accept")

    with pytest.raises(ProtocolError, match="at most 4096"):
        accept.encode(4, [1, 1, "p", None, b"", b"{}", bytes(MAX_MESSAGE)])


def test_a_string_with_a_nul_inside_is_refused_both_ways() -> None:
    """A C peer would read a shorter string than we do."""
    bind = PROTOCOL["clarion_manager_v1"].request("create_consumer")
    octets, _ = bind.encode(3, [9, "ab", 1])
    hostile = octets[HEADER.size :].replace(b"ab\0", b"a\0\0")

    with pytest.raises(ProtocolError):
        bind.encode(3, [9, "a\0b", 1])
    with pytest.raises(ProtocolError):
        bind.decode(memoryview(hostile), deque())


@pytest.mark.parametrize("octets", [b"[1]", b"", b"\xff", b'{"a":NaN}', b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_json_object_is_malformed(octets: bytes) -> None:
    """Nested a hundred thousand times it would exhaust the parser's stack."""
    with pytest.raises(Refused, match="malformed"):
        json_object(octets)


class TestMemory:
    def test_octets_come_back(self) -> None:
        """The way of every body over 3840 octets."""
        octets = os.urandom(3 << 20)

        assert memory.receive(memory.share(octets), len(octets), 4 << 20) == octets

    @pytest.mark.parametrize("fault", ["seals", "short", "size", "pipe", "file"])
    def test_a_descriptor_that_could_change_or_lies_is_refused_and_closed(self, fault: str, tmp_path: Path) -> None:
        """An unsealed one could be cut while it is read, which kills the reader by SIGBUS when it is mapped."""
        before = open_fds()
        fd, size = make_faulty(fault, tmp_path)

        with pytest.raises(ProtocolError):
            memory.receive(fd, size, 1000)
        assert open_fds() == before


def make_faulty(fault: str, folder: Path) -> tuple[int, int]:
    match fault:
        case "seals":
            fd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
            os.write(fd, b"x" * 10)
            return fd, 10
        case "short":
            return memory.share(b"x" * 10), 11
        case "size":
            return memory.share(b"x" * 1001), 1001
        case "pipe":
            read, write = os.pipe()
            os.close(write)
            return read, 1
        case _:
            (folder / "file").write_bytes(b"x" * 10)
            return os.open(folder / "file", os.O_RDONLY), 10


class Peer:
    """A connection's end under test, and the raw socket of whoever talks to it."""

    def __init__(self, **options: Any) -> None:
        ours, self.socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.errors: list[ProtocolError] = []
        self.closed = self.drained = 0
        self.connection = Connection(
            ours, incoming=self.incoming, closed=self._closed, failed=self._failed, drained=self._drained, **options
        )
        self.messages: list[tuple[int, int, bytes]] = []

    def incoming(self, object_id: int, opcode: int, payload: memoryview, _: "deque[int]") -> None:
        if opcode == 99:
            raise ZeroDivisionError
        self.messages.append((object_id, opcode, bytes(payload)))

    def _closed(self) -> None:
        self.closed += 1

    def _drained(self) -> None:
        self.drained += 1

    def _failed(self, error: ProtocolError) -> None:
        self.errors.append(error)
        self.connection.close()

    def end(self) -> None:
        self.connection.close()
        self.socket.close()


async def test_messages_arrive_whole_however_they_are_cut() -> None:
    """A stream has no message borders."""
    peer = Peer()
    octets = b"".join(HEADER.pack(i, 12 << 16 | 3) + struct.pack("=I", i) for i in range(1, 50))
    for start in range(0, len(octets), 7):
        peer.socket.send(octets[start : start + 7])
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    peer.end()

    assert peer.messages == [(i, 3, struct.pack("=I", i)) for i in range(1, 50)]


@pytest.mark.parametrize("word", [0, 4 << 16, 7 << 16, 13 << 16, 4100 << 16])
async def test_a_size_that_cannot_be_ends_the_connection(word: int) -> None:
    """Nothing after it can be framed."""
    peer = Peer()
    peer.socket.send(HEADER.pack(1, word) + bytes(40))
    await asyncio.sleep(0.01)
    peer.socket.close()

    assert len(peer.errors) == peer.closed == 1


async def test_what_a_handler_raises_ends_the_connection_and_no_message_comes_twice() -> None:
    """An exception that left the octets unread would have them read again, and applied again."""
    peer = Peer()
    peer.socket.send(HEADER.pack(1, 8 << 16) + HEADER.pack(1, 8 << 16 | 99) + HEADER.pack(1, 8 << 16))
    await asyncio.sleep(0.01)
    peer.socket.close()

    assert [opcode for _, opcode, _ in peer.messages] == [0]
    assert len(peer.errors) == 1


async def test_descriptors_that_nobody_asked_for_are_closed_with_the_connection() -> None:
    """A peer could otherwise fill the table of the process with them."""
    before = open_fds()
    peer = Peer()
    read, write = os.pipe()
    for _ in range(4):
        socket.send_fds(peer.socket, [HEADER.pack(1, 8 << 16)], [read] * 20)
    await asyncio.sleep(0.01)
    os.close(read)
    os.close(write)
    peer.socket.close()

    assert len(peer.errors) == 1
    assert open_fds() == before


async def test_who_never_reads_is_cut_off_and_costs_no_descriptor() -> None:
    """Events for it would pile up in the broker's memory."""
    before = open_fds()
    event = PROTOCOL["clarion_directory_v1"].event("answer")
    peer = Peer(max_unsent=1 << 20)
    large = PROTOCOL["clarion_directory_v1"].event("answer_fd")
    for serial in range(4000):
        peer.connection.send(5, event, serial, bytes(1000))
        if serial % 50 == 0 and not peer.connection.is_closed:
            peer.connection.send(5, large, serial, memory.share(b"x"), 1)
        if serial % 100 == 0:
            await asyncio.sleep(0)
    peer.socket.close()

    assert peer.connection.is_closed
    assert open_fds() == before


async def test_who_is_behind_is_congested_until_it_has_read() -> None:
    """The dispatcher claims nothing for it meanwhile and must be told when it may."""
    event = PROTOCOL["clarion_directory_v1"].event("answer")
    peer = Peer()
    for serial in range(1500):
        peer.connection.send(5, event, serial, bytes(1000))
    await asyncio.sleep(0.01)
    behind = peer.connection.is_congested
    peer.socket.setblocking(False)
    for _ in range(200):
        await asyncio.sleep(0)
        try:
            while peer.socket.recv(1 << 16):
                pass
        except BlockingIOError:
            continue
    caught_up = not peer.connection.is_congested
    peer.end()

    assert behind
    assert caught_up
    assert peer.drained == 1


async def test_a_paused_connection_reads_nothing_until_it_is_resumed() -> None:
    """How a flood stays in the flooder's own buffer."""
    peer = Peer()
    peer.connection.pause()
    peer.socket.send(HEADER.pack(1, 8 << 16))
    await asyncio.sleep(0.02)
    while_paused = len(peer.messages)
    peer.connection.resume()
    await asyncio.sleep(0.02)
    peer.end()

    assert while_paused == 0
    assert len(peer.messages) == 1
