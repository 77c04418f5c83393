"""The analyze stage: how urgent a mail is for this recipient, as far as mail and history tell."""

from serving.personal import Personal
from serving.pipeline import NotUrgent, Postponed, Uncertain, Unscored, Urgent
from serving.scoring import ModelFailure, Scorer
from serving.stage import Work


class Classification:
    """One look by the champion; what it cannot score, or lies in its narrow band, goes on to reanalysis."""

    def __init__(self, scorer: Scorer, personal: Personal) -> None:
        self._scorer = scorer
        self._personal = personal

    async def handle(self, work: Work) -> Urgent | Postponed | NotUrgent | Uncertain | Unscored:
        """The prediction as an outcome; a failure of mail or model is an outcome too.

        Raises:
            BrokerUnavailable: history or wishes cannot be read now.
            Unsealable: the body is sealed for another key.
        """
        try:
            judgement = await self._scorer.judge(work)
        except ModelFailure as failure:
            return Unscored(failure.error)
        if self._scorer.is_uncertain(judgement.prediction):
            # The history grows with the final word: reanalysis must not read this mail's own arrival.
            return Uncertain(judgement.prediction, None)
        return await self._personal.decide(work, judgement)
