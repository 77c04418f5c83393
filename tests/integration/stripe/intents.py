"""What Stripe documents of customers and PaymentIntents and localstripe lacks: search, filters, states that forbid."""

import re
from typing import Any

import httpx
from aiohttp import web

from tests.integration.stripe.server import Localstripe

CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action")
ALLOWED = {"capture": ("requires_capture",), "cancel": CANCELABLE}


class Intents:
    """Handlers of requests; `search_lags` hides every customer from searches, as in the first hour of their life."""

    def __init__(self, localstripe: Localstripe) -> None:
        self.search_lags = False
        self._localstripe = localstripe
        self._captured: dict[str, int] = {}

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.get("/v1/customers/search", self.search),
            web.get("/v1/payment_intents", self.list),
            web.get("/v1/payment_intents/{id}", self.retrieve),
            web.post("/v1/payment_intents/{id}/{verb:capture|cancel}", self.change),
        ]

    async def search(self, request: web.Request) -> web.Response:
        """Customers by metadata."""
        found = re.fullmatch(r"metadata\['(\w+)']:'(\w+)'", request.query["query"])
        assert found is not None, "the search is written otherwise than Stripe wants it"
        customers = [] if self.search_lags else await self._localstripe.all("customers")
        matching = [one for one in customers if one["metadata"].get(found[1]) == found[2]]
        return web.json_response({"object": "search_result", "url": request.path, "has_more": False, "data": matching})

    async def list(self, request: web.Request) -> web.Response:
        """A customer's PaymentIntents, newest first."""
        intents = reversed(await self._localstripe.all("payment_intents"))
        return page(request, [one for one in intents if one["customer"] == request.query["customer"]])

    async def retrieve(self, request: web.Request) -> web.Response:
        """One of them, with what was captured of it."""
        answer = await self._localstripe.send("GET", request.path, b"", {})
        return self._with_amounts(answer)

    async def change(self, request: web.Request) -> web.Response:
        """Captured or cancelled, where its state allows it."""
        id_, verb, form = request.match_info["id"], request.match_info["verb"], await request.post()
        before = await self._localstripe.send("GET", f"/v1/payment_intents/{id_}", b"", {})
        if before.is_error:
            return problem(404, "invalid_request_error", "resource_missing")
        if before.json()["status"] not in ALLOWED[verb]:
            return problem(400, "invalid_request_error", "payment_intent_unexpected_state")
        amount = int(str(form.get("amount_to_capture", 0)))
        if amount > before.json()["amount"]:
            return problem(400, "invalid_request_error", "amount_too_large")
        answer = await self._localstripe.send("POST", request.path, await request.read(), content_type(request))
        if verb == "capture" and answer.is_success:
            self._captured[id_] = amount
        return self._with_amounts(answer)

    def _with_amounts(self, answer: httpx.Response) -> web.Response:
        fields = answer.json()
        fields["amount_received"] = self._captured.get(str(fields.get("id")), 0)
        return web.json_response(fields, status=answer.status_code)


def page(request: web.Request, objects: list[dict[str, Any]]) -> web.Response:
    """The part of a list that the request asks for."""
    ids = [one["id"] for one in objects]
    start = ids.index(request.query["starting_after"]) + 1 if "starting_after" in request.query else 0
    end = start + int(request.query.get("limit", 10))
    part = {"object": "list", "url": request.path, "data": objects[start:end], "has_more": end < len(objects)}
    return web.json_response(part)


def problem(status: int, kind: str, code: str | None = None) -> web.Response:
    """An error as Stripe words it."""
    return web.json_response({"error": {"type": kind, "code": code, "message": "See the code."}}, status=status)


def content_type(request: web.Request) -> dict[str, str]:
    """The header without which nobody reads a form."""
    return {"Content-Type": request.headers.get("Content-Type", "application/x-www-form-urlencoded")}
