"""How the two stages that analyze end: what they decide about one mail for one recipient. The rest of the outcomes, and
where each leads, is in `serving.pipeline`."""

from dataclasses import dataclass

from serving.observation import Observation
from serving.values import Prediction
from serving.wishes.lists import Match


@dataclass(frozen=True, slots=True)
class Urgent:
    prediction: Prediction
    observation: Observation | None


@dataclass(frozen=True, slots=True)
class Postponed:
    """Urgent, and the recipient's quiet hours hold what is urgent too: it goes on at `until` (seconds since the epoch),
    to be paid for and delivered as any other."""

    prediction: Prediction
    observation: Observation | None
    until: float


@dataclass(frozen=True, slots=True)
class NotUrgent:
    """`match` is the entry of the recipient's lists that fits: it may keep an urgent score from being urgent."""

    prediction: Prediction
    observation: Observation | None
    match: Match | None = None


@dataclass(frozen=True, slots=True)
class Uncertain:
    """The score lies in the stated narrow band; look again with more care."""

    prediction: Prediction
    observation: Observation | None


@dataclass(frozen=True, slots=True)
class Unscored:
    """The model failed; look again."""

    error: str


@dataclass(frozen=True, slots=True)
class FailedOpen:
    """Every bounded attempt failed: deliver at once, charge nobody."""

    error: str
