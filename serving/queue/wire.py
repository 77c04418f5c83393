"""The Wayland wire format, compiled from protocol XML: one codec a message, nothing numbered by hand.

A message is: object id (u32), size << 16 | opcode (u32), arguments; all in the host's byte order, padded to 4 octets
(Wayland core protocol, "Wire Format").
"""

import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from serving.errors import ProtocolError

HEADER = struct.Struct("=II")
MAX_MESSAGE = 4096
MAX_FDS = 28

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by the length modulo 4
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
    _segments: "tuple[_Segment, ...]" = field(init=False, repr=False, compare=False)
    _whole: struct.Struct | None = field(init=False, repr=False, compare=False)
    """Header and arguments in one, where all of them have a fixed size."""

    def __post_init__(self) -> None:
        typed = ((at, argument) for at, argument in enumerate(self.arguments) if argument.type == "object")
        object.__setattr__(self, "objects", tuple((at, argument.interface or "") for at, argument in typed))
        segments = tuple(_segments(self.arguments))
        object.__setattr__(self, "_segments", segments)
        codes = "".join(_FIXED.get(argument.type, "") for argument in self.arguments)
        fixed = len(codes) == len(self.arguments)
        object.__setattr__(self, "_whole", struct.Struct(HEADER.format + codes) if fixed else None)

    def encode(self, object_id: int, values: Sequence[Any]) -> tuple[bytes, list[int]]:
        """Octets and file descriptors of this message; ProtocolError when it would exceed 4096 octets."""
        if self._whole is not None:
            return self._whole.pack(object_id, self._whole.size << 16 | self.opcode, *values), []
        parts, fds = [b""], []
        for packer, begin, end, kind, _ in self._segments:
            if kind == "fd":
                parts.append(packer.pack(*values[begin:end]))
                fds.append(values[end])
            elif kind:
                octets, length = _octets(kind, values[end])
                parts += (packer.pack(*values[begin:end], length), octets, _PADDING[length % 4])
            else:
                parts.append(packer.pack(*values[begin:end]))
        size = HEADER.size + sum(map(len, parts))
        if size > MAX_MESSAGE:
            raise ProtocolError(f"{self.interface}.{self.name} would take {size} octets; at most {MAX_MESSAGE} may")
        parts[0] = HEADER.pack(object_id, size << 16 | self.opcode)
        return b"".join(parts), fds

    def decode(self, payload: memoryview, fds: deque[int]) -> list[Any]:
        """The values in `payload` (without header); descriptors are taken from `fds`. ProtocolError if malformed."""
        if self._whole is not None and len(payload) == self._whole.size - HEADER.size:
            return [value for segment in self._segments for value in segment.packer.unpack(payload)]
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
        for packer, _, _, kind, nullable in self._segments:
            values += packer.unpack_from(payload, offset)
            offset += packer.size
            if kind == "fd":
                taken.append(fds.popleft())
                values.append(taken[-1])
            elif kind:
                length = values.pop()
                values.append(_value(kind, payload, offset, length, nullable))
                offset += length + (-length % 4)
        return values, offset


class _Segment(NamedTuple):
    """Neighbouring arguments of a fixed size, values `begin` to `end`, and one of another kind that comes after them:
    its length is packed with them. The last segment may have no such one."""

    packer: struct.Struct
    begin: int
    end: int
    kind: str
    nullable: bool


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


def _segments(arguments: tuple[Argument, ...]) -> Iterator[_Segment]:
    codes, begin = "", 0
    for at, argument in enumerate(arguments):
        if argument.type in _FIXED:
            codes += _FIXED[argument.type]
            continue
        length = "" if argument.type == "fd" else "I"
        yield _Segment(struct.Struct(f"={codes}{length}"), begin, at, argument.type, argument.nullable)
        codes, begin = "", at + 1
    if codes:
        yield _Segment(struct.Struct(f"={codes}"), begin, len(arguments), "", False)


def _octets(kind: str, value: str | bytes | None) -> tuple[bytes, int]:
    """A string's or an array's octets, and how many there are."""
    if kind == "array":
        octets = bytes(value or b"")  # type: ignore[arg-type]
        return octets, len(octets)
    if value is None:
        return b"", 0
    octets = value.encode() if isinstance(value, str) else bytes(value)
    if b"\0" in octets:
        raise ProtocolError("a string on the wire cannot hold NUL")
    return octets + b"\0", len(octets) + 1


def _value(kind: str, payload: memoryview, start: int, length: int, nullable: bool) -> str | bytes | None:
    end = start + length
    if end + (-length % 4) > len(payload):
        raise ProtocolError(f"a {kind} runs past its message")
    octets = bytes(payload[start:end])
    if kind == "array":
        return octets
    if length == 0:
        if not nullable:
            raise ProtocolError("a string that must not be null is")
        return None
    if octets[-1] != 0 or b"\0" in octets[:-1]:
        raise ProtocolError("a string must hold exactly one NUL, at its end")
    return octets[:-1].decode()
