"""Where recipients pay, and where the provider's webhooks arrive: python -m tests.torture.payments.till WORLD

`POST /top-ups` with wallet, amount and key answers 200 once the wallet has the money, 503 as long as it may not: the
payer tries again with the same key. A webhook makes it ask once more about the one intent that it names.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.errors import BrokerUnavailable
from serving.payment.provider import Done, Provider
from serving.payment.stripe_events import Rejected, read_event
from serving.payment.topup import keep_resuming, resume_one, top_up
from serving.payment.webhooks import HEADER
from serving.queue.client import Client
from tests.torture.payments.bank import Witness
from tests.torture.payments.world import CURRENCY, HOST, World

EVERY = 10.0
"""Seconds between two looks at all that is open; the first at the start, for what the till's predecessor began."""


class Till:
    """Has no memory of its own: what it began and did not live to end is found in the ledger."""

    def __init__(self, world: World, ledger: Client, provider: Provider) -> None:
        self._secret = world.secret.read_text(encoding="utf-8")
        self._ledger = ledger
        self._provider = provider

    async def pay(self, request: Request) -> Response:
        """Take a recipient's money."""
        order = await request.json()
        try:
            answer = await top_up(
                self._ledger,
                self._provider,
                wallet=order["wallet"],
                amount=order["amount"],
                currency=CURRENCY,
                key=order["key"],
            )
        except BrokerUnavailable:
            return Response(status_code=503)
        return JSONResponse({"answer": type(answer).__name__}, 200 if isinstance(answer, Done) else 503)

    async def hear(self, request: Request) -> Response:
        """A webhook: 400 where it is not believed, 503 where it should come again."""
        header = request.headers.get(HEADER, "")
        event = read_event(await request.body(), header, self._secret, now=time.time())
        if isinstance(event, Rejected):
            return JSONResponse({"reason": event.reason}, 400)
        try:
            for intent in await self._ledger.query("intent", key=event.key):
                await resume_one(self._ledger, self._provider, intent)
        except BrokerUnavailable:
            return Response(status_code=503)
        return Response(status_code=204)


def application(world: World) -> Starlette:
    """The ASGI application."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        ledger = await Client.connect(world.socket, timeout=60.0)
        async with world.client() as client:
            provider = Witness(client, world)
            till = Till(world, ledger, provider)
            app.router.routes += [
                Route("/top-ups", till.pay, methods=["POST"]),
                Route("/webhooks", till.hear, methods=["POST"]),
            ]
            resuming = asyncio.create_task(keep_resuming(ledger, provider, every=EVERY))
            yield
            resuming.cancel()
            with suppress(asyncio.CancelledError):
                await resuming

    return Starlette(lifespan=lifespan)


if __name__ == "__main__":
    opened = World.read(sys.argv[1])
    uvicorn.run(application(opened), host=HOST, port=opened.till, log_level="error", access_log=False)
