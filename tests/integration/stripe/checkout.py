"""Checkout Sessions and the page behind them: what the payer does there makes a real charge at localstripe."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.integration.stripe.intents import page, problem
from tests.integration.stripe.payer import new_card
from tests.integration.stripe.server import Localstripe

REQUIRED = ("mode", "customer", "success_url", "line_items[0][price_data][unit_amount]")

Emit = Callable[[str, dict[str, Any]], Awaitable[None]]


class Checkout:
    """Handlers of requests; `emit` sends an event."""

    def __init__(self, localstripe: Localstripe, emit: Emit) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self._localstripe = localstripe
        self._emit = emit
        self._numbers = itertools.count(1)
        self._saves_card: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.post("/v1/checkout/sessions", self.create),
            web.get("/v1/checkout/sessions", self.list),
            web.get("/v1/checkout/sessions/{id}", self.retrieve),
            web.get("/pay/{id}", self.show),
            web.post("/pay/{id}", self.pay),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """A session that is open."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        if missing := [name for name in REQUIRED if name not in form]:
            return problem(400, "invalid_request_error", f"parameter_missing: {missing[0]}")
        id_ = f"cs_test_{next(self._numbers)}"
        if form.get("payment_intent_data[setup_future_usage]") == "off_session":
            self._saves_card.add(id_)
        self.sessions[id_] = _session(id_, form, f"{request.url.origin()}/pay/{id_}")
        return web.json_response(self.sessions[id_])

    async def list(self, request: web.Request) -> web.Response:
        """A customer's sessions, newest first."""
        sessions = reversed(self.sessions.values())
        return page(request, [one for one in sessions if one["customer"] == request.query["customer"]])

    async def retrieve(self, request: web.Request) -> web.Response:
        """A session as it stands."""
        session = self.sessions.get(request.match_info["id"])
        return web.json_response(session) if session else problem(404, "invalid_request_error", "resource_missing")

    async def show(self, request: web.Request) -> web.Response:
        """The page."""
        session = self.sessions[request.match_info["id"]]
        return web.Response(text=f"Pay {session['amount_total']} {session['currency']}", content_type="text/html")

    async def pay(self, request: web.Request) -> web.Response:
        """Pay with the card in the form: back to the shop, or 402 and the page is still there."""
        session = self.sessions[request.match_info["id"]]
        if session["status"] != "open":
            return web.Response(status=409, text="nothing is to be paid here")
        intent = await self._charge(session, str((await request.post())["card"]))
        if intent is None:
            return web.Response(status=402, text="Your card was declined.")
        session.update(status="complete", payment_status="paid", payment_intent=intent, url=None)
        await self._emit("checkout.session.completed", session)
        return web.Response(status=303, headers={"Location": session["success_url"]})

    def expire(self) -> None:
        """A day passes."""
        for session in self.sessions.values():
            if session["status"] == "open":
                session.update(status="expired", url=None)

    async def _charge(self, session: dict[str, Any], number: str) -> str | None:
        card = await new_card(self._localstripe, number)
        attached = await self._localstripe.post(f"/v1/payment_methods/{card}/attach", customer=session["customer"])
        if attached.is_error:
            return None
        intent = await self._localstripe.post(
            "/v1/payment_intents",
            amount=str(session["amount_total"]),
            currency=session["currency"],
            customer=session["customer"],
            payment_method=card,
            confirm="true",
            metadata__key=session["metadata"]["key"],
        )
        if intent.is_error or session["id"] not in self._saves_card:
            await self._localstripe.post(f"/v1/payment_methods/{card}/detach")
        return None if intent.is_error else str(intent.json()["id"])


def _session(id_: str, form: dict[str, str], url: str) -> dict[str, Any]:
    return {
        "id": id_,
        "object": "checkout.session",
        "mode": form["mode"],
        "customer": form["customer"],
        "client_reference_id": form.get("client_reference_id"),
        "metadata": {"key": form["metadata[key]"]},
        "amount_total": int(form["line_items[0][price_data][unit_amount]"]),
        "currency": form["line_items[0][price_data][currency]"],
        "success_url": form["success_url"],
        "payment_intent": None,
        "payment_status": "unpaid",
        "status": "open",
        "url": url,
    }
