"""Before localstripe: what Stripe documents and localstripe lacks (https://docs.stripe.com/api), and what goes wrong.

Faults are drawn from a seed by the request's key, as at the sandbox. `TIMEOUT` commits and answers after `hang`
seconds, where 0 breaks the connection; `HTML` commits and answers with a page; `ERROR` commits nothing and answers 500.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx
import stripe
from aiohttp import web

from serving.payment.faults import Fault, Faults
from tests.integration.stripe.checkout import Checkout
from tests.integration.stripe.intents import Intents, content_type, problem
from tests.integration.stripe.server import API_KEY, Localstripe

SECRET = "whsec_clarion"
NOT_KEPT = (400, 401, 409, 429)
"""Answers from before anything was executed; Stripe does not remember them."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a key was used for, and the first answer; None while that is still worked on."""

    request: tuple[str, bytes]
    status: int = 0
    body: bytes | None = None

    def reply(self) -> web.Response:
        """The answer, once more."""
        return web.Response(status=self.status, body=self.body, content_type="application/json")


@contextlib.asynccontextmanager
async def opened(server: str) -> AsyncIterator["Proxy"]:
    """A proxy before the localstripe with this URL, which is emptied first."""
    localstripe = Localstripe(server)
    await localstripe.forget()
    async with Proxy(localstripe).started() as proxy:
        yield proxy
    await localstripe.close()


class Proxy:
    """Stripe, as far as Clarion sees it. `faulty` is the path that the faults are limited to."""

    def __init__(self, localstripe: Localstripe) -> None:
        self.url = ""
        self.webhook_url = ""
        self.events: list[tuple[bytes, str]] = []
        self.faults = Faults({}, 0)
        self.faulty = "/v1/"
        self.hang = 0.0
        self.localstripe = localstripe
        self.checkout = Checkout(localstripe, self.emit)
        self.intents = Intents(localstripe)
        self._kept: dict[str, Kept] = {}
        self._http = httpx.AsyncClient(trust_env=False)

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator["Proxy"]:
        """Answer on a free port while the block runs."""
        application = web.Application(middlewares=[self._as_documented])
        application.add_routes([*self.checkout.routes(), *self.intents.routes(), web.post("/_events", self.relay)])
        application.router.add_route("*", "/v1/{path:.*}", self.forward)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*runner.addresses[0])
        await self.localstripe.tell(f"{self.url}/_events", SECRET)
        yield self
        await runner.cleanup()
        await self._http.aclose()

    def forget_keys(self) -> None:
        """A day passes."""
        self._kept.clear()

    async def emit(self, kind: str, about: dict[str, Any]) -> None:
        """Sign an event of our own and send it."""
        event = {"id": f"evt_{len(self.events)}", "object": "event", "type": kind, "data": {"object": about}}
        payload = json.dumps(event)
        signature = stripe.WebhookSignature.generate_signature_header(payload, SECRET, int(time.time()))
        await self._send(payload.encode(), signature)

    async def relay(self, request: web.Request) -> web.Response:
        """Pass on an event that localstripe has made and signed."""
        await self._send(await request.read(), request.headers["Stripe-Signature"])
        return web.Response()

    async def replay(self, random: Random) -> None:
        """Send every event twice more, in any order."""
        again = self.events * 2
        random.shuffle(again)
        for payload, signature in again:
            await self._deliver(payload, signature)

    async def forward(self, request: web.Request) -> web.Response:
        """What localstripe does well by itself."""
        body = (await request.read()).replace(b"allowed_payment_method_types", b"payment_method_types")
        answer = await self.localstripe.send(request.method, request.path_qs, body, content_type(request))
        return web.Response(status=answer.status_code, body=answer.content, content_type="application/json")

    @web.middleware
    async def _as_documented(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/v1/"):
            return await handler(request)
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return problem(401, "invalid_request_error")
        key = request.headers.get("Idempotency-Key", "")
        fault = self.faults.draw(key or request.path) if request.path.startswith(self.faulty) else None
        answering = self._broken if fault is Fault.ERROR else handler
        answer = await (self._once(key, request, answering) if request.method == "POST" else answering(request))
        if fault is Fault.TIMEOUT:
            await asyncio.sleep(self.hang)
            if not self.hang and request.transport:
                request.transport.abort()
        return (
            web.Response(status=502, text="<h1>502</h1>", content_type="text/html") if fault is Fault.HTML else answer
        )

    async def _once(self, key: str, request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = (request.path, await request.read())
        kept = self._kept.get(key)
        if kept and kept.request != asked:
            return problem(400, "idempotency_error")
        if kept and kept.body is None:
            return problem(409, "idempotency_error", "idempotency_key_in_use")
        if kept:
            return kept.reply()
        self._kept[key] = Kept(asked)
        answer = await handler(request)
        assert isinstance(answer, web.Response)
        self._kept[key] = Kept(asked, answer.status, bytes(answer.body or b""))  # type: ignore[arg-type]
        return self._kept.pop(key).reply() if answer.status in NOT_KEPT else self._kept[key].reply()

    async def _broken(self, _: web.Request) -> web.Response:
        return problem(500, "api_error")

    async def _send(self, payload: bytes, signature: str) -> None:
        self.events.append((payload, signature))
        await self._deliver(payload, signature)

    async def _deliver(self, payload: bytes, signature: str) -> None:
        if self.webhook_url:
            await self._http.post(self.webhook_url, content=payload, headers={"Stripe-Signature": signature})
