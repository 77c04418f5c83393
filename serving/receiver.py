"""The demo's receiver: a real SMTP server in its own process that keeps what it accepts in a Maildir.

    python -m serving.receiver --port 2525 --maildir var/demo/maildir

A 250 is sent when the mail is on disk. In front of each mail stand `Delivered-To`, `X-Envelope-To` and
`X-Envelope-From`, one file a recipient; below them the octets are as they came.
"""

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from serving import core_dumps
from serving.maildir import Maildir

LARGEST_MAIL = 32 * 1024 * 1024
LONGEST_LINE = 1024 * 1024
GRACE = 5.0
log = logging.getLogger(__name__)


class Server(SMTP):
    """aiosmtpd's server, for mail whose lines are longer than RFC 5321 4.5.3.1.6 has them."""

    line_length_limit = LONGEST_LINE


class Handler:
    """Writes each accepted mail, and knows when no write is under way."""

    def __init__(self, maildir: Maildir) -> None:
        self._maildir = maildir
        self._writing: set[asyncio.Task[None]] = set()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002
        """250 when it is on disk for every recipient, 452 when the disk refuses."""
        task = asyncio.create_task(asyncio.to_thread(self._write, envelope))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        try:
            await asyncio.shield(task)
        except OSError as error:
            log.error("a mail was not kept: %s", error.strerror)
            return "452 4.3.1 Not kept: insufficient storage"
        return "250 2.0.0 Kept"

    async def handle_exception(self, error: Exception) -> str:
        """A server that stumbles asks for another try, and logs nothing of the mail."""
        log.error("a session failed: %s", type(error).__name__)
        return "451 4.3.0 Internal error; try again"

    async def settle(self) -> None:
        """Return when what was being written is written and answered."""
        while self._writing:
            await asyncio.wait(self._writing)
            await asyncio.sleep(0.05)  # for the reply

    def _write(self, envelope: Envelope) -> None:
        content = envelope.original_content or b""
        for recipient in envelope.rcpt_tos:
            self._maildir.deliver(_trace(recipient, envelope.mail_from or "") + content)


async def serve(host: str, port: int, maildir: Maildir, *, stop: asyncio.Event) -> None:
    """Receive until `stop` is set; mail that is being written then is finished and answered first.

    Raises OSError when the port cannot be had.
    """
    loop = asyncio.get_running_loop()
    handler = Handler(maildir)
    server = await loop.create_server(lambda: _session(handler, loop), host, port)
    address = server.sockets[0].getsockname()
    print(f"receiver on {address[0]}:{address[1]}", flush=True)
    await stop.wait()
    server.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(handler.settle(), GRACE)


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(options.host, options.port, Maildir(options.maildir), stop=stop)


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 2 with one line when it cannot start."""
    options = _parser().parse_args(arguments)
    core_dumps.forbid()
    logging.getLogger("mail").setLevel(logging.CRITICAL)  # aiosmtpd's own log names addresses
    try:
        asyncio.run(_main(options))
    except OSError as error:
        print(f"receiver on {options.host}:{options.port}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def _session(handler: Handler, loop: asyncio.AbstractEventLoop) -> SMTP:
    return Server(
        handler,
        data_size_limit=LARGEST_MAIL,
        enable_SMTPUTF8=True,
        hostname="receiver.invalid",
        ident="Clarion's receiver",
        loop=loop,
    )


def _trace(recipient: str, sender: str) -> bytes:
    lines = f"Delivered-To: {recipient}\r\nX-Envelope-To: {recipient}\r\nX-Envelope-From: {sender}\r\n"
    return lines.encode("utf-8", "surrogateescape")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.receiver", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2525, help="0 takes a free one and prints it")
    parser.add_argument("--maildir", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
