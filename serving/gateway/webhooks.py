"""What a provider tells us unasked: only a hint to ask it about one intent; twice, late or out of order is harmless."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.gateway.problems import NOT_FOUND, Problem, problem
from serving.gateway.submission import read_body
from serving.payment.exchange import Ledger
from serving.payment.provider import Provider
from serving.payment.topup import resume_one

LARGEST_EVENT = 256 * 1024

ReadKey = Callable[[bytes, str], str | None]
"""The key of the order that an event (its octets, its signature) is about, None for none of ours; raises Problem."""


class Webhooks:
    """One provider's webhooks."""

    def __init__(self, ledger: Ledger, provider: Provider, read: ReadKey, *, header: str) -> None:
        self._ledger = ledger
        self._provider = provider
        self._read = read
        self._header = header

    async def receive(self, request: Request) -> Response:
        """200 once the intent that the event is about has been asked about, or where there is none of that key.

        Raises:
            Problem: 400 for what is not signed by the provider, 404 for a provider that we do not have.
        """
        if request.path_params["provider"] != self._provider.name:
            raise Problem(NOT_FOUND)
        body = await read_body(request, LARGEST_EVENT)
        key = self._read(body, request.headers.get(self._header, ""))
        for intent in await self._ledger.query("intent", key=key) if key else ():
            await resume_one(self._ledger, self._provider, intent)
        return JSONResponse({"received": True})


def read_stripe(secret: str, clock: Callable[[], float]) -> ReadKey:
    """Stripe's events, signed with the endpoint's secret."""
    from serving.payment.stripe_events import Event, Reason, read_event

    def read(payload: bytes, signature: str) -> str | None:
        event = read_event(payload, signature, secret, now=clock())
        if isinstance(event, Event):
            return event.key
        if event.reason is Reason.NO_KEY:
            return None
        raise problem(400, "bad_event", f"the event is not believed: {event.reason}", "check the endpoint's secret")

    return read
