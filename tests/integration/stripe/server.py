"""localstripe, a stand-in for Stripe's server with cards and charges, as a process on a free loopback port.

    python -m tests.integration.stripe.server

prints its port. Started this way it listens on the loopback interface only and keeps nothing on the disk.
"""

import contextlib
import importlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

API_KEY = "sk_test_clarion"


class Localstripe:
    """That server, asked without anybody in between. Close it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, auth=(API_KEY, ""), trust_env=False)

    async def close(self) -> None:
        """Close the connections; the server goes on."""
        await self._http.aclose()

    async def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """The object, or the list of them."""
        return dict((await self._http.get(path, params=parameters)).raise_for_status().json())

    async def post(self, path: str, **form: str) -> httpx.Response:
        """The answer, good or bad; `card__number` is `card[number]`."""
        names = {name: name.replace("__", "[") + "]" * ("__" in name) for name in form}
        return await self._http.post(path, data={names[name]: value for name, value in form.items()})

    async def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """The answer to a request as it came."""
        return await self._http.request(method, path, content=body, headers=dict(headers))

    async def all(self, kind: str) -> list[dict[str, Any]]:
        """Every object of a kind (`payment_intents`), oldest first."""
        return list((await self.get(f"/v1/{kind}", limit="100000"))["data"])

    async def tell(self, url: str, secret: str) -> None:
        """Send the events of PaymentIntents there, a second after they happened, signed."""
        (await self._http.post("/_config/webhooks/clarion", json={"url": url, "secret": secret})).raise_for_status()

    async def forget(self) -> None:
        """Empty the server."""
        (await self._http.delete("/_config/data")).raise_for_status()


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The URL of a server that ends with the block."""
    command = [sys.executable, "-m", "tests.integration.stripe.server"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.communicate(timeout=10)


def serve() -> None:
    """Print the port, then answer until SIGTERM."""
    importlib.import_module("localstripe.resources").Store.dump_to_disk = lambda _: None
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    web.run_app(
        importlib.import_module("localstripe.server").app,
        sock=listener,
        access_log=None,
        print=lambda *_: None,
        shutdown_timeout=0.1,
    )


if __name__ == "__main__":
    serve()
