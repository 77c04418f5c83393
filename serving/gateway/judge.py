"""Questions to the classifier, which runs in another process: mails are composed here and judged there."""

import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

import aiohttp
from bentoml.exceptions import BentoMLException

from serving.gateway.mail import Question, compose, mailbox
from serving.gateway.problems import problem
from serving.values import Prediction

MOST_QUESTIONS = 256

Score = Callable[[list[bytes], list[str], bool], Awaitable[Sequence[Prediction]]]
"""The classification service's `score`: mails, their recipients, whether to read their history."""


class Judge:
    """Asks the classification service."""

    def __init__(self, score: Score, domain: str, clock: Callable[[], float] = time.time) -> None:
        self._score = score
        self._domain = domain
        self._clock = clock

    async def __call__(self, questions: Sequence[Question], with_history: bool) -> Sequence[Prediction]:
        """Predictions in order.

        Raises:
            Problem: 422, a question that is no mail or cannot be scored; 503, the classifier is not there.
        """
        if len(questions) > MOST_QUESTIONS:
            raise problem(422, "too_many", f"more than {MOST_QUESTIONS} mails", "ask in several requests")
        recipients = [mailbox(question.recipient).address for question in questions]
        mails = [compose(question, now=self._clock(), message_id=f"asked@{self._domain}") for question in questions]
        try:
            return await self._score(mails, recipients, with_history)
        except BentoMLException as error:
            if error.error_code == HTTPStatus.UNPROCESSABLE_ENTITY:
                raise problem(422, "unscorable", "a mail cannot be scored", "leave it out, or simplify it") from None
            raise _away() from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise _away() from None


def _away() -> Exception:
    return problem(503, "unavailable", "the classifier does not answer", "try again", Retry_After="2")
