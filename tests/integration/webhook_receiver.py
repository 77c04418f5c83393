"""Whom webhooks tell, on this machine: a real HTTP server that answers, or misbehaves, as the test says."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

OK = "HTTP/1.1 204 No Content\r\n\r\n"
SILENCE, HANGING_UP = "", "hang up"


def status(line: str, fields: str = "", body: str = "") -> str:
    """An answer, whole."""
    return f"HTTP/1.1 {line}\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}"


@dataclass(frozen=True)
class Told:
    """One request: its target, its fields by lower-case name, its body."""

    target: str
    fields: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The webhook-id."""
        return self.fields["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        """What it says."""
        event: dict[str, Any] = json.loads(self.body)
        return event


@dataclass
class Receiver:
    """`answer` says what each request gets; `told` is all that came, whatever it got, and `most` how many were there at
    once."""

    answer: Callable[[Told], str] = lambda _: OK
    told: list[Told] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    open: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    most: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/hooks?from=clarion"

    def ids(self) -> Counter[str]:
        """How often each event came."""
        return Counter(told.id for told in self.told)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection."""
        self.connections += 1
        self.writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._serve(reader, writer):
                await writer.drain()
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        told = Told(head[0].split(" ")[1], fields, await reader.readexactly(int(fields["content-length"])))
        self.told.append(told)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            return await self._reply(self.answer(told), reader, writer)
        finally:
            self.open -= 1

    async def _reply(self, answer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if answer == HANGING_UP:
            return False
        if answer == SILENCE:
            await reader.read()  # until the other side has enough
            return False
        writer.write(answer.encode())
        await asyncio.sleep(0)
        return True


@asynccontextmanager
async def receiving(receiver: Receiver | None = None) -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    made = receiver or Receiver()
    server = await asyncio.start_server(made.serve, "127.0.0.1", made.port)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in made.writers:
            writer.close()
