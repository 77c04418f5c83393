"""The public HTTP API: `application()` is mounted under /v1, `application.state.api` does the work."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from serving.errors import BrokerUnavailable, Refused
from serving.gateway.api import Api
from serving.gateway.problems import INTERNAL, NOT_FOUND, UNAVAILABLE, Answer, Problem, refusal

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")

Endpoint = Callable[[Api, Request], Awaitable[Response]]
Record = Callable[[str, str, int, float], None]
"""Told of every request: route, method, status, seconds. The route is a template, never a path with an id in it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Guarded:
    """An endpoint whose every failure is an answer of ours; what broke is logged without its message."""

    route: str
    endpoint: Endpoint

    async def __call__(self, request: Request) -> Response:
        started = time.perf_counter()
        response = await self._answer(request)
        response.headers.update(getattr(request.state, "headers", {}))
        record: Record = request.app.state.record
        record(self.route, request.method, response.status_code, time.perf_counter() - started)
        return response

    async def _answer(self, request: Request) -> Response:
        try:
            return await self.endpoint(request.app.state.api, request)
        except Problem as problem:
            return problem.answer.response()
        except BrokerUnavailable:
            return UNAVAILABLE.response()
        except Refused as refused:
            return refusal(refused).response()
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            _log.error("%s failed: %s at %s", self.route, type(error).__name__, _place(error))
            return INTERNAL.response()


def application() -> Starlette:
    """The app without its work: set `state.api` (and `state.record`, to have requests counted) before it is served."""
    routes: list[BaseRoute] = [
        _route("/notify", "POST", Api.notify),
        _route("/notifications/{id}", "GET", Api.notification),
        _route("/messages/{id}", "GET", Api.message),
        _route("/notifications/{id}/feedback", "POST", Api.feedback),
        _route("/webhooks/{provider}", "POST", Api.webhook),
        _route("/statement", "GET", Api.statement),
        _route("/classify", "POST", Api.classify),
        _route("/health", "GET", Api.health),
    ]
    # BentoML mounts passively: without a last route that takes all, its own plain 404 would answer.
    unmatched = Route("/{path:path}", _Unmatched(tuple(routes)).__call__, methods=list(METHODS))
    app = Starlette(routes=[*routes, unmatched])
    app.state.record = _ignore
    return app


@dataclass(frozen=True, slots=True)
class _Unmatched:
    """404, or 405 where the path is known and the method is not."""

    routes: tuple[BaseRoute, ...]

    async def __call__(self, request: Request) -> Response:
        allowed = {method for route in self.routes for method in _allowed(route, request)}
        answer = _method_not_allowed(allowed) if allowed else NOT_FOUND
        request.app.state.record("unmatched", request.method, answer.status, 0.0)
        return answer.response()


def _route(path: str, method: str, endpoint: Endpoint) -> Route:
    return Route(path, _Guarded(path, endpoint).__call__, methods=[method])


def _allowed(route: BaseRoute, request: Request) -> set[str]:
    match, _ = route.matches(request.scope)
    return set(route.methods or ()) if match is not Match.NONE and isinstance(route, Route) else set()


def _method_not_allowed(allowed: set[str]) -> Answer:
    methods = ", ".join(sorted(allowed))
    return Answer(405, "method_not_allowed", "the path has no such method", f"use {methods}", {"Allow": methods})


def _ignore(route: str, method: str, status: int, seconds: float) -> None:
    """Counts nothing."""


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
