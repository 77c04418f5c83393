"""What a sender asked to be told travels on to a server that reports by itself (RFC 3461), and nowhere else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from serving.delivery.requests import xtext
from serving.delivery.routes import Smarthost
from serving.delivery.stage import Delivery
from serving.origin import Origin
from serving.pipeline import Sent
from serving.stage import Work
from tests.integration.test_delivery import KEY, MAIL, History
from tests.integration.test_delivery import work as plain

ASKED = Origin(
    "ops@bank.example", "00", "<1@bank.example>", "", "QQ 3+14", "headers", ("success", "failure"),
    "rfc822;Bob+x@receiver.example",
)  # fmt: skip


@asynccontextmanager
async def server(*extensions: str) -> AsyncIterator[tuple[int, list[str]]]:
    """A server with these extensions that takes everything: its port, and what it was told before the content."""
    said: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx.receiver.example\r\n")
        while line := (await reader.readline()).decode().strip():
            said.append(line)
            if line == "DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            is_hello = line.startswith("EHLO")
            answer = "\r\n".join(f"250-{each}" for each in ("mx.receiver.example", *extensions)) + "\r\n"
            writer.write((answer if is_hello else "").encode() + b"250 2.0.0 OK\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1], said
    listening.close()


def work(origin: Origin | None) -> Work:
    head: dict[str, Any] = {
        "mail_from": "bounce+7@gate.example",
        "rcpt_to": "bob@receiver.example",
        "message_id": "<7@x>",
    }
    head["origin"] = None if origin is None else origin.tree()
    return replace(plain(History([])), body=KEY.sealing_key.seal(json.dumps(head).encode() + b"\n" + MAIL))


async def delivered(port: int, origin: Origin | None) -> Sent:
    stage = Delivery(KEY, Smarthost("127.0.0.1", port, "gate.example"), expiry=1.0, random=Random(1))  # noqa: S311
    outcome = await stage.handle(work(origin))
    await stage.close()
    assert isinstance(outcome, Sent)
    return outcome


async def test_a_server_that_reports_is_told_what_was_asked() -> None:
    """Its reports come to us, and the sender is told by us."""
    async with server("DSN") as (port, said):
        outcome = await delivered(port, ASKED)

    assert "MAIL FROM:<bounce+7@gate.example> RET=HDRS ENVID=QQ+203+2B14" in said
    assert "RCPT TO:<bob@receiver.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx@receiver.example" in said
    assert outcome.receipt.reports


@pytest.mark.parametrize(
    ("extensions", "origin"),
    [
        ((), ASKED),
        (("DSN",), None),
        (("DSN",), replace(ASKED, envelope_id=None, returns=None, notify=None, original=None)),
    ],
)
async def test_who_knows_nothing_of_it_or_was_asked_nothing_is_told_nothing(
    extensions: tuple[str, ...], origin: Origin | None
) -> None:
    """A server without the extension refuses its parameters, and with them the mail."""
    async with server(*extensions) as (port, said):
        outcome = await delivered(port, origin)

    assert "MAIL FROM:<bounce+7@gate.example>" in said
    assert "RCPT TO:<bob@receiver.example>" in said
    assert outcome.receipt.reports is bool(extensions)


async def test_never_travels_as_such() -> None:
    """Otherwise the next server would report what nobody wants to know."""
    async with server("DSN") as (port, said):
        await delivered(port, replace(ASKED, notify=(), original="utf-8;jürgen@receiver.example"))

    assert "RCPT TO:<bob@receiver.example> NOTIFY=NEVER" in said


@pytest.mark.parametrize(
    ("text", "written"), [("a+b=c d", "a+2Bb+3Dc+20d"), ("plain.id-1", "plain.id-1"), ("\n", "+0A")]
)
def test_a_parameter_breaks_out_of_nothing(text: str, written: str) -> None:
    """RFC 3461 section 4."""
    assert xtext(text) == written
