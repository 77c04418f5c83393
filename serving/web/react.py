"""The page by which a recipient tells one thing: of a mail (mounted under /r), or of the digests (under /u).

A GET only shows what would be told, so mail scanners may follow links; the POST tells it, as often as it comes, and
answers with a page and no redirect, as RFC 8058 section 3.1 wants it of a one-click POST.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from serving.web.guard import Endpoint, Guarded, Unmatched, Visit
from serving.web.pages import Pages
from serving.web.telling import TELLING, WORDS
from serving.web.token import Reaction

Kind = Reaction | Literal["unsubscribe"]


@dataclass(frozen=True, slots=True)
class Matter:
    """What a link tells, and of which mail: who sent it (empty where it is of none), and when, in seconds since the
    epoch. `is_told` is whether it was told before."""

    kind: Kind
    sender: str = ""
    at: float = 0.0
    is_told: bool = False


class Ear(Protocol):
    """Who hears it. Both methods raise BadToken, and BrokerUnavailable while the queue is away."""

    async def matter(self, token: str) -> Matter:
        """What the token's link would tell."""
        ...

    async def hear(self, token: str) -> Matter:
        """Write it down, once however often it is told."""
        ...


def application(ear: Ear | None = None) -> Starlette:
    """The app; an `ear` that it is not given is set as `state.desk` before it is served."""
    pages = Pages()
    page = ReactPage(pages)
    app = Starlette(
        routes=[
            _route("GET", page.show, pages),
            _route("POST", page.tell, pages),
            Route("/{path:path}", Unmatched(pages)),  # as in `pay`
        ]
    )
    app.state.desk, app.state.provider = ear, ""
    return app


class ReactPage:
    """What each route does."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        """What would be told and a button for it; what was told already needs none."""
        ear: Ear = visit.desk
        return self._page(await ear.matter(visit.token), visit)

    async def tell(self, visit: Visit) -> Response:
        """Tell it, and say so. What the form holds does not count: the link says all."""
        ear: Ear = visit.desk
        return self._page(await ear.hear(visit.token), visit)

    def _page(self, matter: Matter, visit: Visit) -> Response:
        template = "told" if matter.is_told else "tell"
        return self._pages.page(template, matter=matter, words=WORDS[matter.kind], home=visit.home)


def _route(method: str, endpoint: Endpoint, pages: Pages) -> Route:
    path = "/{token}"
    return Route(path, Guarded(path, endpoint, pages, TELLING).__call__, methods=[method])
