"""The BentoML services: the gateway, and each stage as a service with processes of its own.

`bentoml serve serving.service:Gateway` runs them all; `CLARION_WORKERS_<STAGE>` says how many processes a stage gets.
BentoML starts the processes and starts them again when they die; the supervisor does the same for BentoML.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, cast

import bentoml
from bentoml.exceptions import BentoMLException, ServiceUnavailable
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import core_dumps
from serving.errors import BrokerUnavailable, ClarionError
from serving.gateway import metrics
from serving.gateway.guard import QuestionGuard
from serving.gateway.mail import Question
from serving.gateway.problems import Problem
from serving.leash import die_with_parent
from serving.pipeline import Stage
from serving.queue.client import Client, reachable
from serving.settings import Settings
from serving.values import Prediction
from serving.worker import StageWorker

TIMEOUT = 120.0
"""Seconds for a request: 25 MiB over a slow line."""
LARGEST_QUESTION = 8 << 20
"""Octets of a request to /classify."""

_log = logging.getLogger(__name__)
_REQUESTS = bentoml.metrics.Counter("clarion_requests_total", "Requests", labelnames=["route", "method", "status"])
_SECONDS = bentoml.metrics.Histogram("clarion_request_seconds", "Time to an answer", labelnames=["route"])


def options(name: str) -> dict[str, Any]:
    """How BentoML runs a service."""
    return {
        "workers": int(os.environ.get(f"CLARION_WORKERS_{name.upper()}", "1")),
        "traffic": {"timeout": TIMEOUT},
        # BentoML's client closes its session after 100 requests, those in flight too; only the service can tell it.
        "runner_connection": {"max_requests": 10**9, "max_age": 86_400.0},
        # Its access log and its metrics keep every path, and paths hold ids; ours are by route.
        "logging": {"access": {"enabled": False}},
        "metrics": {"enabled": name != "gateway"},
    }


@contextlib.contextmanager
def _or_exit(name: str) -> Iterator[None]:
    """What keeps a service from starting is one line in the log; whoever watches tries again."""
    try:
        yield
    except ClarionError as error:
        _log.critical("%s cannot start: %s", name, error)
        os._exit(1)


def _record(route: str, method: str, status: int, seconds: float) -> None:
    _REQUESTS.labels(route=route, method=method, status=status).inc()
    _SECONDS.labels(route=route).observe(seconds)


class StageService:
    """What the services of all stages share: the loop runs while the worker does, and one dies with the other."""

    stage: ClassVar[Stage]

    def __init__(self) -> None:
        self.worker = StageWorker(self.stage, Settings())

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Begin to work."""
        core_dumps.forbid()
        die_with_parent()
        with _or_exit(self.stage):
            self.worker.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Stop working."""
        await self.worker.stop()

    async def __is_ready__(self) -> bool:
        return await self.worker.is_ready()


@bentoml.service(**options("authentication"))
class Authentication(StageService):
    """Tells whether the sender is who it says."""

    stage = Stage.AUTHENTICATION


@bentoml.service(**options("classification"))
class Classification(StageService):
    """Tells how urgent a mail is for its recipient."""

    stage = Stage.CLASSIFICATION

    @bentoml.api  # type: ignore[untyped-decorator]
    async def score(self, mails: list[bytes], recipients: list[str], with_history: bool) -> list[Prediction]:
        """The prediction for each mail and its recipient; for the gateway alone."""
        try:
            return await self.worker.score(mails, recipients, with_history)
        except BrokerUnavailable as error:
            raise ServiceUnavailable(str(error)) from None
        except ClarionError as error:
            raise BentoMLException(str(error), error_code=HTTPStatus.UNPROCESSABLE_ENTITY) from None


@bentoml.service(**options("reanalysis"))
class Reanalysis(StageService):
    """Looks again, and in doubt lets through."""

    stage = Stage.REANALYSIS


@bentoml.service(**options("triage"))
class Triage(StageService):
    """Does with what is not urgent as its recipient wishes."""

    stage = Stage.TRIAGE


@bentoml.service(**options("digest"))
class Digest(StageService):
    """Writes digests."""

    stage = Stage.DIGEST


@bentoml.service(**options("encryption"))
class Encryption(StageService):
    """Seals to the recipient."""

    stage = Stage.ENCRYPTION


@bentoml.service(**options("payment"))
class Payment(StageService):
    """Holds the price before delivery."""

    stage = Stage.PAYMENT


@bentoml.service(**options("delivery"))
class Delivery(StageService):
    """Hands over by SMTP."""

    stage = Stage.DELIVERY


@bentoml.service(**options("settlement"))
class Settlement(StageService):
    """Captures what was delivered, gives back what was not."""

    stage = Stage.SETTLEMENT


@bentoml.service(**options("notice"))
class Notice(StageService):
    """Writes our own mails: asks for money, tells senders and recipients what is held or over, passes answers on."""

    stage = Stage.NOTICE


@bentoml.service(**options("escalation"))
class Escalation(StageService):
    """Sees to it that a person has what is urgent."""

    stage = Stage.ESCALATION


class Predictions(BaseModel):
    """One for each mail, in order."""

    predictions: list[Prediction]


class _Door:
    """An ASGI app that is made when the gateway starts: the other services' processes, of this same module, do not
    load it."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.app is None:
            raise RuntimeError("the gateway has not started")
        await self.app(scope, receive, send)


_public, _pay, _reactions, _subscriptions = (_Door() for _ in range(4))


@bentoml.service(**options("gateway"))
@bentoml.asgi_app(_public, path="/v1")
@bentoml.asgi_app(_pay, path="/pay", name="pay")
@bentoml.asgi_app(_reactions, path="/r", name="reactions")
@bentoml.asgi_app(_subscriptions, path="/u", name="subscriptions")
@bentoml.asgi_app(metrics.page(), path="/", name="metrics")
class Gateway:
    """Takes mail in, tells where it is, and holds no key that opens anything."""

    authentication = bentoml.depends(Authentication)
    classification = bentoml.depends(Classification)
    reanalysis = bentoml.depends(Reanalysis)
    triage = bentoml.depends(Triage)
    digest = bentoml.depends(Digest)
    encryption = bentoml.depends(Encryption)
    payment = bentoml.depends(Payment)
    delivery = bentoml.depends(Delivery)
    settlement = bentoml.depends(Settlement)
    notice = bentoml.depends(Notice)
    escalation = bentoml.depends(Escalation)

    def __init__(self) -> None:
        self._settings = Settings()
        self._client = Client(self._settings.socket)

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Open the public API."""
        core_dumps.forbid()
        die_with_parent()
        from serving.gateway.opening import Opened

        with _or_exit("gateway"):
            self._opened = Opened(self._settings, self._client, self._score, _record)
        _public.app, _pay.app = self._opened.public, self._opened.pay
        _reactions.app, _subscriptions.app = self._opened.reactions, self._opened.subscriptions

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Leave the broker and the providers."""
        await self._opened.close()
        await self._client.close()

    async def __is_ready__(self) -> bool:
        return reachable(self._settings.socket)

    @bentoml.api  # type: ignore[untyped-decorator]
    async def classify(self, mails: list[Question] | Question, /, *, ctx: bentoml.Context) -> Predictions:
        """How urgent a mail, or each of many, is for its recipient. The history of the two counts for callers with an
        API key only: it is nobody else's business."""
        questions = mails if isinstance(mails, list) else [mails]
        try:
            return Predictions(predictions=await self._opened.classify(questions, ctx.request))
        except Problem as problem:
            raise BentoMLException(str(problem), error_code=HTTPStatus(problem.answer.status)) from None

    async def _score(self, mails: list[bytes], recipients: list[str], with_history: bool) -> Sequence[Prediction]:
        found: list[Prediction] = await self.classification.score(
            mails=mails, recipients=recipients, with_history=with_history
        )
        return found


cast("bentoml.Service[Gateway]", Gateway).add_asgi_middleware(QuestionGuard, path="/classify", limit=LARGEST_QUESTION)
