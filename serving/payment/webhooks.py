"""Webhooks as the sandbox provider sends them: in the form of Stripe's and signed as those are, so that whoever reads
the one reads the other; and a hint to ask, nothing more.

One may come twice, late, out of order or not at all: what nobody takes after some tries is dropped, and so is what
comes while too many wait.
"""

import asyncio
import hmac
import json
from collections.abc import Callable
from dataclasses import asdict

import httpx

from serving.payment.journal import Operation

HEADER = "Sandbox-Signature"
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each try."""
WAITING = 1000
CONNECTIONS = 16


class Webhooks:
    """Tells one URL of each operation, without making anybody wait for it."""

    def __init__(self, url: str, secret: bytes, clock: Callable[[], float]) -> None:
        """`clock` is seconds since the epoch."""
        self._url = url
        self._secret = secret
        self._clock = clock
        limits = httpx.Limits(max_connections=CONNECTIONS)
        self._http = httpx.AsyncClient(timeout=5.0, limits=limits, trust_env=False)
        self._sending: set[asyncio.Task[None]] = set()

    def announce(self, operation: Operation) -> None:
        """Send it from now on, until it is taken with a 2xx or its tries are over."""
        if len(self._sending) >= WAITING:
            return
        task = asyncio.create_task(self._send(event_of(operation)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, payload: bytes) -> None:
        for pause in PAUSES:
            await asyncio.sleep(pause)
            if await self._is_taken(payload):
                return

    async def _is_taken(self, payload: bytes) -> bool:
        signed = {HEADER: signature(self._secret, payload, int(self._clock())), "Content-Type": "application/json"}
        try:
            response = await self._http.post(self._url, content=payload, headers=signed)
        except httpx.HTTPError:
            return False
        return response.is_success


def event_of(operation: Operation) -> bytes:
    """The JSON that tells of the operation, the same in every repetition."""
    about = {"id": str(operation.seq), "metadata": {"key": operation.key}}
    event = {
        "id": f"evt_{operation.seq}",
        "type": f"{operation.verb}.succeeded",
        "data": {"object": {**asdict(operation), **about}},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def signature(secret: bytes, payload: bytes, at: int) -> str:
    """The header's value: when it was signed, in seconds since the epoch, and the HMAC of that and the payload
    (https://docs.stripe.com/webhooks/signature)."""
    digest = hmac.new(secret, str(at).encode() + b"." + payload, "sha256")
    return f"t={at},v1={digest.hexdigest()}"
