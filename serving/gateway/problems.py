"""What the API says when it says no: a status, a code for programs, what is wrong and what to do for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.responses import JSONResponse, Response

from serving.errors import ClarionError, Refused


@dataclass(frozen=True, slots=True)
class Answer:
    """An error body before it is written; `headers` go out with it."""

    status: int
    error: str
    detail: str
    hint: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The answer as JSON."""
        body = {"error": self.error, "detail": self.detail, "hint": self.hint}
        return JSONResponse(body, status_code=self.status, headers=dict(self.headers))


class Problem(ClarionError):
    """The request cannot be served; `answer` is what its sender is told. Nothing was accepted."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.detail)
        self.answer = answer


def problem(status: int, error: str, detail: str, hint: str, **headers: str) -> Problem:
    """A `Problem` to raise; a header's underscores are written as hyphens."""
    return Problem(Answer(status, error, detail, hint, {name.replace("_", "-"): v for name, v in headers.items()}))


UNAVAILABLE = Answer(
    503,
    "unavailable",
    "the queue does not answer; nothing was accepted",
    "try again with the same Idempotency-Key",
    {"Retry-After": "2"},
)
ISSUER_AWAY = Answer(
    503,
    "issuer_unavailable",
    "the issuer of tokens does not answer; nobody can tell whose this one is",
    "try again, or use an API key",
    {"Retry-After": "5"},
)
INTERNAL = Answer(
    500, "internal", "this request broke something here", "try again; if it stays, tell who runs this service"
)
NOT_FOUND = Answer(404, "not_found", "there is nothing here", "check the path or the id; ids belong to their API key")


def refusal(refused: Refused) -> Answer:
    """What the broker's refusal means to the sender."""
    match refused.reason:
        case "key_conflict":
            return Answer(
                422,
                "key_conflict",
                "this Idempotency-Key came before, with another body",
                "use a new key for a new message, or repeat the same body",
            )
        case "too_large":
            return Answer(413, "too_large", "the message is over the limit", "send less, or a link to it")
        case "not_found":
            return NOT_FOUND
        case "storage" | "store":
            return UNAVAILABLE
        case _:
            return INTERNAL
