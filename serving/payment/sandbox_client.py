"""The sandbox provider as the rest of ShitOps Pay sees it: every answer, and the lack of one, is one of five values."""

from dataclasses import asdict
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from serving.payment.provider import Absent, Answer, Declined, Done, NeedsPayer, Order, TryLater, Unknown


class SandboxClient:
    """A `Provider` over HTTP. Close it, or use it with `async with`."""

    name = "sandbox"

    def __init__(self, url: str, *, timeout: float = 5.0, connections: int = 16) -> None:
        """`timeout` is seconds for each of connecting, sending and waiting for the answer."""
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, limits=limits, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def perform(self, order: Order) -> Answer:
        """Send the order; safe to repeat with the same key and content."""
        answer = await self._request("POST", "/v1/operations", order, json=_content(order))
        return Unknown("404 for an order") if isinstance(answer, Absent) else answer

    async def find(self, order: Order) -> Answer | Absent:
        """Ask what became of the order, without repeating it."""
        return await self._request("GET", f"/v1/operations/{quote(order.key, safe='')}", order)

    async def _request(self, method: str, path: str, order: Order, **content: Any) -> Answer | Absent:
        try:
            response = await self._http.request(method, path, **content)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return TryLater(f"no connection ({type(error).__name__})")
        except httpx.HTTPError as error:
            return Unknown(f"no answer ({type(error).__name__})")
        return _understand(response, order)


def _content(order: Order) -> dict[str, Any]:
    """What this provider is told of an order: it knows payers by name, and needs no name of its own."""
    return {name: value for name, value in asdict(order).items() if name != "reference"}


def _understand(response: httpx.Response, order: Order) -> Answer | Absent:
    fields = _fields(response)
    match response.status_code, fields.get("error"):
        case ((200 | 201), None):
            return _believe(fields, order)
        case 404, "absent":
            return Absent()
        case 402, "needs_payer":
            return NeedsPayer(str(response.url.join(str(fields.get("url")))))
        case ((429 | 503), "try_later"):
            return TryLater("the provider is busy")
        case status, str(error) if 400 <= status < 500:
            return Declined(error)
        case status, _:
            return Unknown(f"status {status} without an answer of the provider's own")


def _fields(response: httpx.Response) -> dict[str, Any]:
    try:
        fields = response.json()
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _believe(fields: dict[str, Any], order: Order) -> Answer:
    if all(fields.get(name) == value for name, value in _content(order).items()):
        return Done(str(fields.get("seq")))
    return Unknown("the answer is about another order")
