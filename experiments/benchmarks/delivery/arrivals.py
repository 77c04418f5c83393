"""Mails that come at their times whatever becomes of those before them, and how long each took."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SEED = 20261129
CONNECTIONS = 32
TIMEOUT = 60.0
_WORDS = ("disk", "full", "db-3", "replica", "lag", "queue", "page", "operator", "restart", "grows", "minute", "before")


@dataclass(frozen=True, slots=True)
class Answered:
    """A mail that was accepted: the reply's last word (the message's id), when its 250 came, and seconds to it from
    its last octet."""

    word: str
    at: float
    seconds: float


class Line:
    """One SMTP connection, kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Line":
        """After EHLO."""
        line = cls(*await asyncio.open_connection("127.0.0.1", port))
        await line._reply()
        await line._say(b"EHLO bench.example\r\n")
        return line

    async def send(self, sender: str, recipient: str, mail: bytes) -> Answered:
        """Hand a mail over. ConnectionError where it is not taken."""
        await self._say(f"MAIL FROM:<{sender}>\r\n".encode())
        await self._say(f"RCPT TO:<{recipient}>\r\n".encode())
        await self._say(b"DATA\r\n")
        begin = time.perf_counter()
        reply = await self._say(mail + b".\r\n")
        return Answered(reply.split()[-1], time.time(), time.perf_counter() - begin)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def _say(self, octets: bytes) -> str:
        self._writer.write(octets)
        return await self._reply()

    async def _reply(self) -> str:
        async with asyncio.timeout(TIMEOUT):
            while True:
                line = (await self._reader.readline()).decode(errors="replace")
                if line[3:4] != "-":
                    break
        if line[:1] not in ("2", "3"):
            raise ConnectionError(f"refused: {line[:9]}")
        return line


async def arrive(port: int, rate: float, seconds: float, sender: str, recipient: str, size: int) -> list[Answered]:
    """So many mails a second for so long, each at its time: an open loop. Waiting for a connection is not counted."""
    chance = random.Random(SEED)  # noqa: S311
    lines: asyncio.Queue[Line] = asyncio.Queue()
    opened = [await Line.open(port) for _ in range(CONNECTIONS)]
    for line in opened:
        lines.put_nowait(line)

    async def one(mail: bytes) -> Answered:
        line = await lines.get()
        answered = await line.send(sender, recipient, mail)
        lines.put_nowait(line)
        return answered

    begin, tasks = asyncio.get_running_loop().time(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(begin + number / rate - asyncio.get_running_loop().time())
        tasks.append(asyncio.create_task(one(_mail(number, sender, recipient, size, chance))))
    answered = await asyncio.gather(*tasks)
    for line in opened:
        line.close()
    return list(answered)


@dataclass(slots=True)
class Receiver:
    """Takes every mail at once, and knows when it said 250 for which Message-ID (the part before the @)."""

    port: int = 0
    at: dict[str, float] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            writer.write(b"220 sink\r\n")
            while verb := (await reader.readline())[:4].upper():
                if verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    mail = await reader.readuntil(b"\r\n.\r\n")
                    self.at[_message_id(mail)] = time.time()
                writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 taken\r\n")
                if verb == b"QUIT":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side is gone, or this is the end
        finally:
            writer.close()

    async def wait_for(self, count: int, seconds: float) -> None:
        """Return once it has so many; SystemExit where it has not in time."""
        deadline = time.monotonic() + seconds
        while len(self.at) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"after {seconds:.0f} s {len(self.at)} of {count} mails have arrived")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def receiving(port: int) -> AsyncIterator[Receiver]:
    """A receiver on that port until the block is left."""
    receiver = Receiver(port)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", port, limit=32 << 20)
    try:
        yield receiver
    finally:
        server.close()


def spread(seconds: Sequence[float]) -> Mapping[str, float]:
    """Milliseconds: the median, the 99th percentile and the most."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"mails": len(seconds), "p50_ms": cuts[49] * 1e3, "p99_ms": cuts[98] * 1e3, "max_ms": max(seconds) * 1e3}


def _mail(number: int, sender: str, recipient: str, size: int, chance: random.Random) -> bytes:
    head = (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: db-3 is full in {number % 60} minutes\r\n"
        f"Message-ID: <{number}.{chance.getrandbits(64):x}@bank.example>\r\n\r\n"
    )
    lines = [" ".join(chance.choices(_WORDS, k=10)) for _ in range(max(size - len(head), 0) // 60)]
    return (head + "".join(f"{line}\r\n" for line in lines)).encode()


def _message_id(mail: bytes) -> str:
    for line in mail.split(b"\r\n\r\n", 1)[0].split(b"\r\n"):
        if line.lower().startswith(b"message-id:"):
            return line.partition(b"<")[2].partition(b"@")[0].decode(errors="replace")
    return ""
