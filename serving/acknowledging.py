"""What urgent mail tells its reader beside its own words: where to acknowledge it, and why it came to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.web.token import Links

ACKNOWLEDGE_FOR = 90 * 86_400.0
"""Seconds from its acceptance for which a notification can be acknowledged by a link."""

ACKNOWLEDGE, ESCALATED = "Clarion-Acknowledge", "Clarion-Escalated"


@dataclass(frozen=True, slots=True)
class Note:
    """What we say in an urgent mail. `is_escalated`: it was another's, who has not acknowledged it in time."""

    link: str
    is_escalated: bool = False

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The same as fields of a header."""
        escalated = ((ESCALATED, "yes; its recipient has not acknowledged it"),) if self.is_escalated else ()
        return (*escalated, (ACKNOWLEDGE, f"<{self.link}>"))

    @property
    def text(self) -> str:
        """The same for a reader."""
        if not self.is_escalated:
            return f"This is urgent. Say that you have seen it:\n{self.link}\n"
        return (
            f"This was urgent for somebody else, who has not acknowledged it in time, and you are next.\n"
            f"Say that you have seen it:\n{self.link}\n"
        )


@dataclass(frozen=True, slots=True)
class AcknowledgeLinks:
    """Makes the links; `url` is where their page is (`…/r`)."""

    url: str
    links: Links

    def make(self, notification: int, accepted_at: float) -> str:
        """The same for a notification each time: a mail that is written again says the same."""
        token = self.links.reaction.make(notification, "acknowledged", accepted_at + ACKNOWLEDGE_FOR)
        return f"{self.url}/{token}"


def is_urgent(facts: Mapping[str, Any]) -> bool:
    """Whether the notification was judged urgent or failed open, and goes out as what it is: no notice, no digest."""
    waiver, label = facts.get("waiver"), facts.get("prediction", {}).get("label")
    return waiver == "failed_open" or (label == "urgent" and waiver not in ("digest", "notice", "delayed"))
