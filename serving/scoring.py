"""From a sealed mail and its recipient's address to a calibrated score: what classification and reanalysis share."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data import history
from data.parse import parse
from data.schema import Message
from serving.errors import ClarionError
from serving.history import History, Reader
from serving.observation import Observation
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work
from serving.values import Prediction
from training.artefact import Certificate, Thresholds
from training.render import Example, render


class Model(Protocol):
    """The champion, or whatever stands in for it: `training.artefact.Artefact`."""

    @property
    def version(self) -> str: ...
    @property
    def thresholds(self) -> Thresholds: ...

    def certificate(self, *, is_automated: bool) -> Certificate | None: ...
    def predict(self, examples: Sequence[Example], *, max_length: int | None = None) -> NDArray[np.float64]: ...


class ModelFailure(ClarionError):
    """The mail could not be read, rendered or scored; `error` is the class of what went wrong, never its words."""

    def __init__(self, error: Exception) -> None:
        self.error = type(error).__name__
        super().__init__(self.error)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One notification's prediction, what its arrival adds to the history, and the message that was judged."""

    prediction: Prediction
    observation: Observation
    message: Message


class Scorer:
    """Judges notifications and bare mails alike. `max_length` in tokens; None for the model's own."""

    def __init__(
        self, reader: Reader, model: Model, content: UnsealingKey, lookup: LookupKey, *, max_length: int | None = None
    ) -> None:
        self._history = History(reader, lookup)
        self._content = content
        self._model = model
        self._batches = Batches(model, max_length)
        self._is_first_look = max_length is None

    async def judge(self, work: Work) -> Judgement:
        """The prediction for one notification.

        Raises:
            ModelFailure: mail or model are at fault.
            BrokerUnavailable: the history cannot be read now.
            Unsealable: the body is sealed for another key.
        """
        raw, recipient = self._content.unseal(work.body), self._content.unseal(work.address).decode()
        return await self.judge_mail(raw, recipient, work.ordinal, accepted_at=work.accepted_at)

    async def judge_mail(
        self,
        raw: bytes,
        recipient: str,
        ordinal: int = 0,
        *,
        with_history: bool = True,
        accepted_at: float | None = None,
    ) -> Judgement:
        """The prediction for RFC 5322 octets and a bare address; raises as `judge` does."""
        message, recipient = _dated(_read(raw), accepted_at), recipient.lower()
        counters, offset = await self._known(message, recipient) if with_history else ({}, 0.0)
        try:
            example = render(message, recipient, history.features(message, recipient, counters))
            observation = self._history.observation(message, recipient, ordinal, counters)
            score = _checked(await self._batches.score(example))
            # The certificate was made by first looks at mail with its history, and speaks of nothing else.
            certificate = self._certificate(message) if with_history and self._is_first_look else None
            return Judgement(self._prediction(score, offset, certificate), observation, message)
        except Exception as error:
            raise ModelFailure(error) from None

    async def _known(self, message: Message, recipient: str) -> tuple[dict[str, history.Counter], float]:
        """The history's counters and the recipient's offset, asked for at once."""
        return await asyncio.gather(self._history.counters(message, recipient), self._history.offset(recipient))

    def is_uncertain(self, prediction: Prediction) -> bool:
        """Whether the score lies in the stated band, where a longer look is worth its time."""
        low, high = self._model.thresholds.band
        return low <= prediction.score < high

    def _certificate(self, message: Message) -> Certificate | None:
        """Nobody replies to machines: their mail is certified apart, or never discarded."""
        return self._model.certificate(is_automated=message.is_automated)

    def _prediction(self, score: float, offset: float, certificate: Certificate | None) -> Prediction:
        """The offset moves the urgent threshold alone; of what may be discarded it can only take away."""
        common = self._model.thresholds.urgent
        personal = personal_threshold(common, offset)
        is_low = certificate is not None and score <= certificate.threshold and score < min(common, personal)
        return Prediction(
            label="urgent" if score >= personal else "not_urgent",
            score=score,
            bound=certificate.bound if certificate else None,
            may_discard=is_low,
            model_version=self._model.version,
            discard_threshold=certificate.threshold if certificate else None,
            confidence=certificate.confidence if certificate else None,
            offset=offset,
        )


def personal_threshold(urgent: float, offset: float) -> float:
    """The urgent threshold, a probability, moved by `offset` in log-odds; exactly itself without one."""
    if offset == 0.0:
        return urgent
    odds = urgent * math.exp(offset)
    return odds / (1.0 - urgent + odds)


@dataclass(slots=True)
class Batches:
    """Scores whatever came in while the last batch was computed, together and sorted by length, in a thread."""

    model: Model
    max_length: int | None
    _waiting: list[tuple[Example, "asyncio.Future[float]"]] = field(default_factory=list)
    _worker: "asyncio.Task[None] | None" = None

    async def score(self, example: Example) -> float:
        """The calibrated probability of "urgent"; raises what the model raised for this example alone."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((example, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        score: float = await future
        return score

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = sorted(self._waiting, key=lambda pair: len(pair[0].text)), []
                await self._score(batch)
        finally:
            self._worker = None

    async def _score(self, batch: Sequence[tuple[Example, "asyncio.Future[float]"]]) -> None:
        try:
            scores = await asyncio.to_thread(self._predict, [example for example, _ in batch])
        except Exception as error:
            await self._score_alone(batch, error)
            return
        for (_, future), score in zip(batch, scores, strict=True):
            if not future.done():
                future.set_result(float(score))

    async def _score_alone(self, batch: Sequence[tuple[Example, "asyncio.Future[float]"]], error: Exception) -> None:
        """One bad example must not fail its batch-mates."""
        for pair in batch:
            if len(batch) > 1:
                await self._score([pair])
            elif not pair[1].done():
                pair[1].set_exception(error)

    def _predict(self, examples: Sequence[Example]) -> NDArray[np.float64]:
        return self.model.predict(examples, max_length=self.max_length)


def _read(raw: bytes) -> Message:
    try:
        return parse(raw)
    except Exception as error:
        raise ModelFailure(error) from None


def _dated(message: Message, accepted_at: float | None) -> Message:
    """The date is the sender's word: without one, or with one to come, the mail is from when it was accepted. A date
    in the future would otherwise stay the history's "last time" for ever."""
    if accepted_at is None or 0.0 < message.date <= accepted_at:
        return message
    return replace(message, date=accepted_at)


def _checked(score: float) -> float:
    """A model that answers NaN has failed; taken for a number it would pass for "not urgent"."""
    if not 0.0 <= score <= 1.0:
        raise ArithmeticError("the score is no probability")
    return score
