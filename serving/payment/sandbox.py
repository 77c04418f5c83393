"""ShitOps Pay's sandbox provider: a real process with real, durable, idempotent money that nobody misses.

    python -m serving.payment.sandbox --port 4242 --log var/sandbox.jsonl [--fault timeout=0.1 --seed 7]

`POST /v1/operations` with key, verb, payer, amount and currency answers 201, and 200 with the same operation when the
key comes again; `GET /v1/operations/{key}` asks. Errors are JSON: `error` for programs, `detail` for people.
`--webhook URL --webhook-secret FILE` tells the URL of each operation, signed with the file's content.
"""

import argparse
import asyncio
import signal
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from serving.errors import ConfigurationError
from serving.payment.faults import Fault, Faults, parse_fault
from serving.payment.journal import Journal, Operation
from serving.payment.orders import Malformed, parse_order
from serving.payment.provider import Order, Verb
from serving.payment.webhooks import Webhooks

LARGEST_REQUEST = 64 * 1024
PAGE = "<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>"


class Sandbox:
    """The provider's HTTP interface over one journal."""

    def __init__(
        self, journal: Journal, *, currency: str, faults: Faults, hang: float, webhooks: Webhooks | None = None
    ) -> None:
        self._journal = journal
        self._currency = currency
        self._faults = faults
        self._hang = hang
        self._webhooks = webhooks
        self._committing = asyncio.Lock()

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/operations", self.commit, methods=["POST"]),
                Route("/v1/operations/{key:path}", self.ask, methods=["GET"]),
                Route("/healthz", self.health, methods=["GET"]),
            ]
        )

    async def commit(self, request: Request) -> Response:
        """Commit an order, once a key."""
        try:
            order = parse_order(await _body(request), self._currency)
        except Malformed as error:
            return _problem(400, error.code, error.detail)
        return await self._commit_with_faults(order)

    async def ask(self, request: Request) -> Response:
        """The operation under a key, 404 when nothing was committed."""
        key = request.path_params["key"]
        if self._faults.draw(f"GET {key}") is Fault.ERROR:
            return _problem(503, "try_later", "ask again in a moment")
        async with self._committing:
            operation = self._journal.find(key)
        if operation is None:
            return _problem(404, "absent", "nothing was committed under this key")
        return JSONResponse(asdict(operation))

    async def health(self, _: Request) -> Response:
        """That it is up, and how many operations it has."""
        return JSONResponse({"status": "up", "operations": len(self._journal)})

    async def _commit_with_faults(self, order: Order) -> Response:
        fault = self._faults.draw(order.key)
        if fault is Fault.ERROR:
            return _problem(503, "try_later", "nothing was committed; send it again")
        if fault is Fault.NEEDS_PAYER and order.verb is Verb.CHARGE:
            return JSONResponse({"error": "needs_payer", "url": f"/confirm/{order.payer}"}, 402)
        answer = await self._commit(order)
        if fault is Fault.TIMEOUT:
            await asyncio.sleep(self._hang)
        return HTMLResponse(PAGE, 502) if fault is Fault.HTML else answer

    async def _commit(self, order: Order) -> Response:
        async with self._committing:
            if committed := self._journal.find(order.key):
                return _repeat(committed, order)
            if order.verb is not Verb.CHARGE and self._journal.kept(order.payer, order.currency) < order.amount:
                return _problem(402, "insufficient", "less than this is kept for the payer")
            operation = await asyncio.to_thread(self._journal.append, order)
        if self._webhooks is not None:
            self._webhooks.announce(operation)
        return JSONResponse(asdict(operation), 201)


def serve(sandbox: Sandbox, listener: socket.socket) -> None:
    """Answer on the listening socket until SIGTERM or SIGINT; either ends the process with status 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn raises the signal once more when it has shut down
    config = uvicorn.Config(
        sandbox.application(), log_level="error", access_log=False, timeout_graceful_shutdown=1, lifespan="off"
    )
    uvicorn.Server(config).run(sockets=[listener])


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 2 with one line when it cannot start."""
    options = _parser().parse_args(arguments)
    try:
        faults = Faults(dict(map(parse_fault, options.fault)), options.seed)
        webhooks = _webhooks(options.webhook, options.webhook_secret)
        journal = Journal(options.log, time.time)
        listener = _listen(options.host, options.port)
    except (ConfigurationError, ValueError, OSError) as error:
        print(f"sandbox provider: {error}", file=sys.stderr)
        return 2
    host, port = listener.getsockname()[:2]
    print(f"sandbox provider on http://{host}:{port}, {len(journal)} operations in {options.log}", flush=True)
    serve(Sandbox(journal, currency=options.currency, faults=faults, hang=options.hang, webhooks=webhooks), listener)
    return 0


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_REQUEST:
            raise Malformed("too_large", f"send at most {LARGEST_REQUEST} octets")
    return bytes(body)


def _repeat(committed: Operation, order: Order) -> Response:
    if committed.answers(order):
        return JSONResponse(asdict(committed), 200)
    return _problem(409, "key_conflict", "this key was used for another order; use a key of its own")


def _problem(status: int, error: str, detail: str) -> Response:
    return JSONResponse({"error": error, "detail": detail}, status)


def _webhooks(url: str | None, secret: Path | None) -> Webhooks | None:
    if url is None and secret is None:
        return None
    if url is None or secret is None or not url.startswith(("http://", "https://")):
        raise ConfigurationError("webhooks need both --webhook URL (http or https) and --webhook-secret FILE")
    return Webhooks(url, secret.read_bytes().strip(), time.time)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.payment.sandbox", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4242, help="0 takes a free one and prints it")
    parser.add_argument("--log", type=Path, required=True, help="JSON lines, append-only: all that it knows")
    parser.add_argument("--currency", default="EUR")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=RATE", help="repeat for more kinds")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--hang", type=float, default=30.0, help="seconds that a timed-out answer takes")
    parser.add_argument("--webhook", metavar="URL", help="told of each operation, at least once as a rule")
    parser.add_argument("--webhook-secret", type=Path, metavar="FILE", help="what the webhooks are signed with")
    return parser


if __name__ == "__main__":
    sys.exit(main())
