"""What a recipient's own word does to the model's: rules 2 and 3 in `serving.triage`.

It lies here, with the stages that read the mail anyway, so that triage needs no key: triage hears which entry of a list
fits, by its number, and nothing of what the entry says.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from serving.errors import Unsealable
from serving.pipeline import NotUrgent, Postponed, Urgent
from serving.scoring import Judgement
from serving.sealing import UnsealingKey
from serving.stage import Work
from serving.wishes.lists import Lists, Match
from serving.wishes.wish import Wishes

_log = logging.getLogger(__name__)


class Reader(Protocol):
    """What is asked of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


class Personal:
    """Decides for one recipient, by the prediction, the lists and the quiet hours."""

    def __init__(self, reader: Reader, content: UnsealingKey, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._content = content
        self._clock = clock

    async def decide(self, work: Work, judgement: Judgement) -> Urgent | Postponed | NotUrgent:
        """Urgent or not by the model, but for a sender that never passes and for quiet hours; neither touches mail of a
        sender that is registered as life-safety. Raises BrokerUnavailable."""
        prediction, observation = judgement.prediction, judgement.observation
        rows = await self._reader.query("recipient", lookup=work.recipient.hex())
        wishes = Wishes.read(rows[0]["wishes"] if rows else {})
        match = self._match(wishes, judgement)
        if prediction.label != "urgent":
            return NotUrgent(prediction, observation, match)
        is_kept_away = match is not None and (match.list, match.by) == ("never", "sender")
        now = self._clock()
        until = wishes.after_quiet(now) if wishes.urgent_waits else now
        if (is_kept_away or until > now) and not await self._is_life_safety(work.principal):
            return (
                NotUrgent(prediction, observation, match) if is_kept_away else Postponed(prediction, observation, until)
            )
        return Urgent(prediction, observation)

    def _match(self, wishes: Wishes, judgement: Judgement) -> Match | None:
        """The entry that fits. Lists that cannot be read hold up no mail: without them it is triaged as for others."""
        if not wishes.lists:
            return None
        try:
            lists = Lists.read(self._content.unseal(wishes.lists))
        except (Unsealable, ValueError) as error:
            _log.warning("a recipient's lists cannot be read: %s", type(error).__name__)
            return None
        message = judgement.message
        return lists.match(message.sender, message.subject, message.body)

    async def _is_life_safety(self, principal: str) -> bool:
        rows = await self._reader.query("sender_policy", principal=principal)
        return any((row["policy"] or {}).get("life_safety") is True for row in rows)
