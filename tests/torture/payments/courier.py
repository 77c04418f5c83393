"""Stands between the provider's webhooks and who listens: python -m tests.torture.payments.courier WORLD

Takes each at once, and hands it over later: out of order, some more than once, and again until somebody is there.
"""

import asyncio
import json
import os
import sys

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.payment.webhooks import HEADER
from tests.torture.payments.world import HOST, World

REPLAYED = 0.3
"""Share of the webhooks that are handed over twice."""
LATEST = 2.0
"""Seconds that one is kept back, at most; a replay at most twice as many."""
TRIES = 40


class Courier:
    """Hands webhooks over, and writes down which and when."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._http = httpx.AsyncClient(base_url=f"http://{HOST}:{world.till}", timeout=5.0, trust_env=False)
        self._book = os.open(world.webhooks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._under_way: set[asyncio.Task[None]] = set()

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(routes=[Route("/", self.take, methods=["POST"])])

    async def take(self, request: Request) -> Response:
        """Take it, and let chance decide when and how often it is handed over."""
        payload, header = await request.body(), request.headers.get(HEADER, "")
        operation = json.loads(payload)["data"]["object"]
        chance = self._world.chance("webhook", operation["key"])
        waits = [chance.uniform(0, LATEST)]
        if chance.random() < REPLAYED:
            waits.append(waits[0] + chance.uniform(0, LATEST))
        for copy, wait in enumerate(waits):
            task = asyncio.create_task(self._hand_over(payload, header, wait, {"seq": operation["seq"], "copy": copy}))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return Response(status_code=204)

    async def _hand_over(self, payload: bytes, header: str, wait: float, line: dict[str, int]) -> None:
        await asyncio.sleep(wait)
        for _ in range(TRIES):
            if await self._is_taken(payload, header):
                os.write(self._book, json.dumps(line).encode() + b"\n")
                return
            await asyncio.sleep(0.5)

    async def _is_taken(self, payload: bytes, header: str) -> bool:
        try:
            response = await self._http.post("/webhooks", content=payload, headers={HEADER: header})
        except httpx.HTTPError:
            return False
        return response.is_success


if __name__ == "__main__":
    opened = World.read(sys.argv[1])
    app = Courier(opened).application()
    uvicorn.run(app, host=HOST, port=opened.courier, log_level="error", access_log=False, lifespan="off")
