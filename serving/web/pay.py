"""The pay page: `application()` is mounted under /pay, `application.state.desk` knows the money.

A GET changes nothing, so mail scanners may follow links; a POST answers 303 to a GET, so reloading pays nothing twice.
"""

import secrets
import time
from collections.abc import Callable
from typing import assert_never
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from serving.errors import ConfigurationError
from serving.web.amounts import time_left
from serving.web.desk import Credited, Declined, Desk, DueState, Pending, Redirect
from serving.web.forms import BrokenForm, read_top_up
from serving.web.guard import Endpoint, Guarded, Unmatched, Visit
from serving.web.pages import Pages
from serving.web.statement import as_csv
from serving.web.wording import SENTENCES, UNSETTLED, Said, declined, said


def application(
    desk: Desk | None = None,
    *,
    provider: str = "",
    clock: Callable[[], float] = time.time,
    draw: Callable[[], str] = lambda: secrets.token_urlsafe(16),
) -> Starlette:
    """The app; what it is not given, set as `state.desk` and `state.provider` before it is served.

    `provider` is the origin (`https://host`) to which a top-up may redirect; `draw` makes a form's attempt.
    """
    pages = Pages()
    page = PayPage(pages, clock=clock, draw=draw)
    app = Starlette(
        routes=[
            _route("/back/{token}", "GET", page.come_back, pages),
            _route("/statement/{token}", "GET", page.statement, pages),
            _route("/statement/{token}/csv", "GET", page.spreadsheet, pages),
            _route("/{token}", "GET", page.show, pages),
            _route("/{token}/wallet", "POST", page.pay_from_wallet, pages),
            _route("/{token}/top-up", "POST", page.top_up, pages),
            # BentoML mounts passively: without a last route that takes all, its own plain 404 would answer.
            Route("/{path:path}", Unmatched(pages)),
        ]
    )
    app.state.desk, app.state.provider = desk, provider
    return app


class PayPage:
    """What each route does."""

    def __init__(self, pages: Pages, *, clock: Callable[[], float], draw: Callable[[], str]) -> None:
        self._pages = pages
        self._clock = clock
        self._draw = draw

    async def show(self, visit: Visit) -> Response:
        """The page, as far as the payment is."""
        due = await visit.desk.due(visit.token)
        code = said(visit.request.query_params.get("said", ""), due.state)
        return self._pages.page(
            due.state.value,
            due=due,
            home=visit.home,
            left=time_left(due.until, self._clock()),
            sentence=SENTENCES[code] if code else None,
            settles=code in UNSETTLED,
            attempt=self._draw() if due.state is DueState.WAITING else "",
        )

    async def pay_from_wallet(self, visit: Visit) -> Response:
        """Pay, and back to the page."""
        is_covered = await visit.desk.pay_from_wallet(visit.token)
        return _back(visit, Said.PAID if is_covered else Said.SHORT)

    async def top_up(self, visit: Visit) -> Response:
        """Charge one of the offered amounts; then back to the page, or on to the provider's."""
        form = await read_top_up(visit.request)
        due = await visit.desk.due(visit.token)
        if form.amount not in due.top_ups:
            raise BrokenForm
        answer = await visit.desk.top_up(visit.token, form.amount, form.attempt)
        match answer:
            case Credited():
                return _back(visit, Said.CREDITED)
            case Pending():
                return _back(visit, Said.PENDING)
            case Declined(reason):
                return _back(visit, declined(reason))
            case Redirect(url):
                return _onward(visit, url)
            case _:
                assert_never(answer)

    async def come_back(self, visit: Visit) -> Response:
        """From the provider's page to ours: the order's key, which only its payer knows, stands for the token."""
        token = await visit.desk.come_back(visit.token)
        home = f"{visit.request.scope.get('root_path', '')}/{quote(token, safe='')}"
        has_left = "left" in visit.request.query_params
        return RedirectResponse(home if has_left else f"{home}?said={Said.PENDING.value}", 303)

    async def statement(self, visit: Visit) -> Response:
        """What moved in the wallet, to read."""
        found = await visit.desk.statement(visit.token)
        return self._pages.page("statement", found=found, home=visit.home)

    async def spreadsheet(self, visit: Visit) -> Response:
        """What moved in the wallet, to keep."""
        text = as_csv((await visit.desk.statement(visit.token)).lines)
        headers = {"Content-Disposition": 'attachment; filename="statement.csv"'}
        return Response(text, media_type="text/csv", headers=headers)


def _route(path: str, method: str, endpoint: Endpoint, pages: Pages) -> Route:
    return Route(path, Guarded(path, endpoint, pages).__call__, methods=[method])


def _onward(visit: Visit, url: str) -> Response:
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" != visit.request.app.state.provider:
        # The browser would drop the redirect without a word: form-action names the origin that we were given.
        raise ConfigurationError("the provider's page is on another origin; give that to application(provider=...)")
    return RedirectResponse(url, 303)


def _back(visit: Visit, code: Said) -> Response:
    return RedirectResponse(f"{visit.home}?said={code.value}", 303)
