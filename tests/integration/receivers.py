"""A real SMTP server in process, well and ill."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

Fault = Callable[["Receiver", SMTP], Awaitable[str]]


def greeted(session: Session, hostname: str, replies: list[str], *, pipelines: bool) -> list[str]:
    """The replies to EHLO; aiosmtpd reads one command after the other, whether or not they came together."""
    session.host_name = hostname
    return [*replies, *(["250-PIPELINING"] if pipelines else []), "250 HELP"]


@dataclass
class Receiver:
    """Keeps the mail and what happened in which order. `at_rcpt`/`at_data`: what to do with the next ones."""

    kept: list[Envelope] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    at_rcpt: list[Fault] = field(default_factory=list)
    at_data: list[Fault] = field(default_factory=list)
    sessions: set[int] = field(default_factory=set)
    servers: list[SMTP] = field(default_factory=list)
    port: int = 0
    pipelines: bool = False

    async def handle_EHLO(
        self, _: SMTP, session: Session, __: Envelope, hostname: str, replies: list[str]
    ) -> list[str]:
        return greeted(session, hostname, replies, pipelines=self.pipelines)

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]) -> str:
        self.sessions.add(id(session))
        self.events.append("rcpt")
        if self.at_rcpt:
            return await self.at_rcpt.pop(0)(self, server)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:
        self.events.append("data")
        if not self.at_data:
            self.kept.append(envelope)
            return "250 2.0.0 kept for bob@receiver.example"
        fault = self.at_data.pop(0)
        if fault is drop:
            self.kept.append(envelope)
        return await fault(self, server)


def say(reply: str) -> Fault:
    async def fault(_: Receiver, __: SMTP) -> str:
        return reply

    return fault


async def drop(_: Receiver, server: SMTP) -> str:
    assert server.transport is not None
    server.transport.abort()  # type: ignore[attr-defined]
    return "250 never read"


async def dawdle(_: Receiver, __: SMTP) -> str:
    await asyncio.sleep(2)
    return "250 too late"


@asynccontextmanager
async def listening(receiver: Receiver, *, utf8: bool = True, size: int = 1_000_000) -> AsyncIterator[Receiver]:
    """The receiver on a free port."""
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        options: dict[str, Any] = {"enable_SMTPUTF8": utf8, "data_size_limit": size, "loop": loop}
        receiver.servers.append(SMTP(receiver, hostname="receiver.example", **options))
        return receiver.servers[-1]

    server = await loop.create_server(session, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()
    for each in receiver.servers:
        if each.transport:
            each.transport.close()
    await asyncio.sleep(0)
