"""Keeps bad questions from BentoML, which would read all of them, answer 500, or put their words into its log."""

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.gateway.mail import Question
from serving.gateway.problems import Problem
from serving.gateway.submission import parse_json, read_body

QUESTIONS: TypeAdapter[list[Question] | Question] = TypeAdapter(list[Question] | Question)


class QuestionGuard:
    """ASGI middleware: a POST to `path` is passed on only if its body holds questions in at most `limit` octets."""

    def __init__(self, app: ASGIApp, *, path: str, limit: int) -> None:
        self._app = app
        self._path = path
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", self._path):
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(Request(scope, receive), self._limit)
            parse_json(QUESTIONS, body)
        except Problem as refusal:
            await refusal.answer.response()(scope, receive, send)
            return
        await self._app(scope, _Replay(body, receive), send)


class _Replay:
    """`receive` for an application, of a body that was read already."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        message: Message = {"type": "http.request", "body": self._body, "more_body": False}
        self._body = None
        return message
