"""Around every endpoint: whatever fails is a calm page of ours, and every answer carries the pages' headers."""

import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.errors import BrokerUnavailable
from serving.web.desk import BadToken
from serving.web.forms import BrokenForm
from serving.web.pages import Pages
from serving.web.wording import NOT_FOUND, PAYING, Apologies, Apology

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: its token, the path of that token's page, and who knows what the page is about: a page's own
    protocol says what it is."""

    request: Request
    desk: Any
    token: str
    home: str


Endpoint = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Guarded:
    """An endpoint that always answers; what broke is logged without its message, and without the token."""

    route: str
    endpoint: Endpoint
    pages: Pages
    apologies: Apologies = PAYING

    async def __call__(self, request: Request) -> Response:
        return self.pages.guarded(await self._answer(request), request.app.state.provider)

    async def _answer(self, request: Request) -> Response:
        token = request.path_params["token"]
        above = self.route.partition("{token}")[0]
        home = f"{request.scope.get('root_path', '')}{above}{quote(token, safe='')}"
        try:
            return await self.endpoint(Visit(request, request.app.state.desk, token, home))
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            return _apologise(self.pages, self._apology(error), home)

    def _apology(self, error: Exception) -> Apology:
        match error:
            case BadToken(reason="forged"):
                return NOT_FOUND
            case BadToken():
                return self.apologies.expired
            case BrokenForm():
                return self.apologies.broken
            case BrokerUnavailable():
                return self.apologies.unavailable
            case _:
                place = traceback.extract_tb(error.__traceback__)[-1]
                _log.error("%s failed: %s at %s:%d", self.route, type(error).__name__, place.filename, place.lineno)
                return self.apologies.internal


@dataclass(frozen=True, slots=True)
class Unmatched:
    """404 as a page, for every other path and method."""

    pages: Pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self.pages.guarded(_apologise(self.pages, NOT_FOUND, ""), scope["app"].state.provider)
        await response(scope, receive, send)


def _apologise(pages: Pages, apology: Apology, home: str) -> Response:
    return pages.page("apology", apology.status, apology.headers, apology=apology, home=home)
