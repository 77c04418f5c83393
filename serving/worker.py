"""A stage in its own process: joined to the life of its parent, connected to the broker, at work until told to stop."""

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

import bentoml

from serving.errors import ConfigurationError
from serving.pipeline import Outcome, Stage, kind
from serving.queue import collector
from serving.queue.client import Client, reachable
from serving.settings import Settings
from serving.stage import Handler, Work, serve
from serving.values import Prediction
from serving.wiring import Parts, wire

if TYPE_CHECKING:
    from serving.scoring import Scorer

_log = logging.getLogger(__name__)

_OUTCOMES = bentoml.metrics.Counter("clarion_outcomes_total", "Hops by outcome", labelnames=["stage", "outcome"])
_SECONDS = bentoml.metrics.Histogram("clarion_handling_seconds", "Time in the handler", labelnames=["stage"])


class StageWorker:
    """Runs one stage's loop as a task. When the loop ends by itself the whole process ends, to be started again."""

    def __init__(self, stage: Stage, settings: Settings) -> None:
        self._stage = stage
        self._settings = settings
        self._resources = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self._scorer: Scorer | None = None
        self.parts = Parts(settings, Client(settings.socket), self._resources)

    def start(self) -> None:
        """Wire the handler and begin; a broker that is not up yet is waited for by the loop.

        Raises:
            ConfigurationError: a key file or the model is missing.
        """
        wired = wire(self._stage, self.parts)
        self._scorer = wired.scorer
        handle = _counted(self._stage, wired.handle)
        loop = serve(
            self._stage,
            self.parts.client,
            handle,
            concurrency=wired.concurrency,
            octets=wired.octets,
            unfunded=wired.unfunded,
        )
        self._task = asyncio.create_task(loop)
        self._task.add_done_callback(self._ended)
        collector.relax()

    async def stop(self) -> None:
        """End the loop and close what was opened; unfinished leases return to the queue when the process is gone."""
        if self._task is not None:
            self._task.remove_done_callback(self._ended)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._resources.aclose()
        await self.parts.client.close()

    async def score(self, mails: Sequence[bytes], recipients: Sequence[str], with_history: bool) -> list[Prediction]:
        """Predictions for bare mails, in order; without history while the broker is away.

        Raises:
            ModelFailure: one of them cannot be scored.
        """
        if self._scorer is None:
            raise ConfigurationError(f"{self._stage} has no model; ask classification")
        with_history = with_history and reachable(self._settings.socket)
        judgements = [
            self._scorer.judge_mail(mail, recipient, with_history=with_history)
            for mail, recipient in zip(mails, recipients, strict=True)
        ]
        return [judgement.prediction for judgement in await asyncio.gather(*judgements)]

    async def is_ready(self) -> bool:
        """Whether the loop runs and the broker takes connections."""
        return self._task is not None and not self._task.done() and reachable(self._settings.socket)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        _log.critical("the %s loop ended (%s); this process ends", self._stage, type(error).__name__)
        os._exit(1)


def _counted(stage: Stage, handle: Handler) -> Handler:
    seconds = _SECONDS.labels(stage=stage.value)

    @cache
    def ended(outcome: str) -> Any:
        return _OUTCOMES.labels(stage=stage.value, outcome=outcome)

    async def counted(work: Work) -> Outcome:
        begin = perf_counter()
        try:
            outcome = await handle(work)
        except Exception as error:
            ended(type(error).__name__).inc()
            raise
        finally:
            seconds.observe(perf_counter() - begin)
        ended(kind(type(outcome))).inc()
        return outcome

    return counted
