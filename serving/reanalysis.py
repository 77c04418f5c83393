"""The second look: longer context, a bounded number of tries, and in doubt the mail is delivered."""

from serving.errors import Temporary
from serving.personal import Personal
from serving.pipeline import FailedOpen, NotUrgent, Postponed, Urgent
from serving.scoring import ModelFailure, Scorer
from serving.stage import Work

ATTEMPTS = 3
RETRY_AFTER = 1.0


class Reanalysis:
    """Decides by the urgent threshold alone; there is no third look. Only authenticated mail comes here."""

    def __init__(
        self, scorer: Scorer, personal: Personal, *, attempts: int = ATTEMPTS, retry_after: float = RETRY_AFTER
    ) -> None:
        """`attempts` bounds how often the model may fail for one notification, `retry_after` seconds apart."""
        self._scorer = scorer
        self._personal = personal
        self._attempts = attempts
        self._retry_after = retry_after

    async def handle(self, work: Work) -> Urgent | Postponed | NotUrgent | FailedOpen:
        """The final decision; FailedOpen once the model has failed `attempts` times.

        Raises:
            Temporary: the model failed and may be asked again.
            BrokerUnavailable: history or wishes cannot be read now.
            Unsealable: the body is sealed for another key.
        """
        try:
            judgement = await self._scorer.judge(work)
        except ModelFailure as failure:
            if work.attempt >= self._attempts:
                return FailedOpen(failure.error)
            raise Temporary(f"the model failed: {failure.error}", retry_after=self._retry_after) from None
        return await self._personal.decide(work, judgement)
