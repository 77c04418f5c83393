"""The Wayland wire format, compiled from protocol XML: one codec a message, nothing numbered by hand.

A message is: object id (u32), size << 16 | opcode (u32), arguments; all in the host's byte order, padded to 4 octets
(Wayland core protocol, "Wire Format").
"""

import struct
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from serving.errors import ProtocolError

HEADER = struct.Struct("=II")
MAX_MESSAGE = 4096
MAX_FDS = 28

_WORD = struct.Struct("=I")
_FIXED = {"int": "i", "uint": "I", "fixed": "i", "object": "I", "new_id": "I"}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a message, as the XML describes it."""

    name: str
    type: str
    interface: str | None = None
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an event and its codec."""

    interface: str
    name: str
    opcode: int
    arguments: tuple[Argument, ...]
    destructor: bool = False
    objects: tuple[tuple[int, str], ...] = field(init=False, repr=False, compare=False)
    """Which arguments are objects, and of which interface."""
    _segments: tuple[tuple[str, struct.Struct | None, bool], ...] = field(init=False, repr=False, compare=False)
    _whole: struct.Struct | None = field(init=False, repr=False, compare=False)
    """Header and arguments in one, where all of them have a fixed size."""

    def __post_init__(self) -> None:
        typed = ((at, argument) for at, argument in enumerate(self.arguments) if argument.type == "object")
        object.__setattr__(self, "objects", tuple((at, argument.interface or "") for at, argument in typed))
        object.__setattr__(self, "_segments", _segments(self.arguments))
        fixed = all(argument.type in _FIXED for argument in self.arguments)
        codes = "".join(_FIXED[argument.type] for argument in self.arguments) if fixed else ""
        object.__setattr__(self, "_whole", struct.Struct(HEADER.format + codes) if fixed else None)

    def encode(self, object_id: int, values: Iterable[Any]) -> tuple[bytes, list[int]]:
        """Octets and file descriptors of this message; ProtocolError when it would exceed 4096 octets."""
        if self._whole is not None:
            return self._whole.pack(object_id, self._whole.size << 16 | self.opcode, *values), []
        parts, fds, rest = [b""], [], iter(values)
        for kind, packer, _ in self._segments:
            if packer is not None:
                parts.append(packer.pack(*(next(rest) for _ in range(len(packer.format) - 1))))
            elif kind == "fd":
                fds.append(next(rest))
            else:
                parts.append(_pack_variable(kind, next(rest)))
        size = HEADER.size + sum(map(len, parts))
        if size > MAX_MESSAGE:
            raise ProtocolError(f"{self.interface}.{self.name} would take {size} octets; at most {MAX_MESSAGE} may")
        parts[0] = HEADER.pack(object_id, size << 16 | self.opcode)
        return b"".join(parts), fds

    def decode(self, payload: memoryview, fds: deque[int]) -> list[Any]:
        """The values in `payload` (without header); descriptors are taken from `fds`. ProtocolError if malformed."""
        if self._whole is not None and len(payload) == self._whole.size - HEADER.size:
            return [value for _, packer, _ in self._segments if packer for value in packer.unpack(payload)]
        taken: list[int] = []
        try:
            values, end = self._values(payload, fds, taken)
        except (struct.error, IndexError, UnicodeDecodeError, ProtocolError) as error:
            fds.extendleft(reversed(taken))
            raise ProtocolError(f"{self.interface}.{self.name} is malformed") from error
        if end != len(payload):
            fds.extendleft(reversed(taken))
            raise ProtocolError(f"{self.interface}.{self.name} has {len(payload) - end} octets too many")
        return values

    def _values(self, payload: memoryview, fds: deque[int], taken: list[int]) -> tuple[list[Any], int]:
        values: list[Any] = []
        offset = 0
        for kind, packer, nullable in self._segments:
            if packer is not None:
                values.extend(packer.unpack_from(payload, offset))
                offset += packer.size
            elif kind == "fd":
                taken.append(fds.popleft())
                values.append(taken[-1])
            else:
                value, offset = _unpack_variable(kind, payload, offset, nullable)
                values.append(value)
        return values, offset


@dataclass(frozen=True, slots=True)
class Interface:
    """Requests and events by opcode, and enums by name."""

    name: str
    version: int
    requests: tuple[Message, ...]
    events: tuple[Message, ...]
    enums: Mapping[str, Mapping[str, int]]

    def request(self, name: str) -> Message:
        """The request of that name."""
        return next(message for message in self.requests if message.name == name)

    def event(self, name: str) -> Message:
        """The event of that name."""
        return next(message for message in self.events if message.name == name)


Protocol = Mapping[str, Interface]


def load(*files: Path) -> Protocol:
    """All interfaces that the XML files describe, by name."""
    trees = (ElementTree.parse(file).getroot() for file in files)  # noqa: S314 - our own files
    return {element.attrib["name"]: _interface(element) for tree in trees for element in tree.iter("interface")}


def load_clarion() -> Protocol:
    """The core interfaces and clarion's own."""
    here = Path(__file__).parent
    return load(here / "wayland.xml", here / "protocol.xml")


def _interface(element: ElementTree.Element) -> Interface:
    name = element.attrib["name"]
    return Interface(
        name,
        int(element.attrib["version"]),
        tuple(_message(name, opcode, child) for opcode, child in enumerate(element.findall("request"))),
        tuple(_message(name, opcode, child) for opcode, child in enumerate(element.findall("event"))),
        {child.attrib["name"]: _enum(child) for child in element.findall("enum")},
    )


def _enum(element: ElementTree.Element) -> Mapping[str, int]:
    return {entry.attrib["name"]: int(entry.attrib["value"], 0) for entry in element.findall("entry")}


def _message(interface: str, opcode: int, element: ElementTree.Element) -> Message:
    arguments = tuple(argument for child in element.findall("arg") for argument in _arguments(child))
    destructor = element.attrib.get("type") == "destructor"
    return Message(interface, element.attrib["name"], opcode, arguments, destructor)


def _arguments(element: ElementTree.Element) -> Iterable[Argument]:
    name, kind = element.attrib["name"], element.attrib["type"]
    interface = element.attrib.get("interface")
    if kind == "new_id" and interface is None:  # on the wire an untyped new_id names its interface and version first
        yield Argument(f"{name}_interface", "string")
        yield Argument(f"{name}_version", "uint")
    yield Argument(name, kind, interface, element.attrib.get("allow-null") == "true")


def _segments(arguments: tuple[Argument, ...]) -> tuple[tuple[str, struct.Struct | None, bool], ...]:
    """Neighbouring fixed-size arguments become one struct; strings, arrays and descriptors stand alone."""
    segments: list[tuple[str, struct.Struct | None, bool]] = []
    run = ""
    for argument in arguments:
        if argument.type in _FIXED:
            run += _FIXED[argument.type]
            continue
        if run:
            segments.append(("fixed", struct.Struct("=" + run), False))
            run = ""
        segments.append((argument.type, None, argument.nullable))
    if run:
        segments.append(("fixed", struct.Struct("=" + run), False))
    return tuple(segments)


def _pack_variable(kind: str, value: str | bytes | None) -> bytes:
    if value is None:
        return _WORD.pack(0)
    octets = value.encode() + b"\0" if isinstance(value, str) else bytes(value)
    if kind == "string" and b"\0" in octets[:-1]:
        raise ProtocolError("a string on the wire cannot hold NUL")
    return _WORD.pack(len(octets)) + octets + b"\0" * (-len(octets) % 4)


def _unpack_variable(kind: str, payload: memoryview, offset: int, nullable: bool) -> tuple[str | bytes | None, int]:
    (length,) = _WORD.unpack_from(payload, offset)
    start = offset + 4
    end = start + length + (-length % 4)
    if end > len(payload):
        raise ProtocolError(f"a {kind} runs past its message")
    octets = bytes(payload[start : start + length])
    if kind == "array":
        return octets, end
    if length == 0:
        if not nullable:
            raise ProtocolError("a string that must not be null is")
        return None, end
    if octets[-1] != 0 or b"\0" in octets[:-1]:
        raise ProtocolError("a string must hold exactly one NUL, at its end")
    return octets[:-1].decode(), end
