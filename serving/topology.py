"""Tells the broker about the pipeline: the table, and what each stage works on, needs and may touch."""

from serving.pipeline import (
    ANSWERS,
    DIGEST_ENTRY,
    ENTRY,
    TABLE,
    WATCH,
    Deferred,
    Destination,
    End,
    FailedOpen,
    NotUrgent,
    Outcome,
    Parked,
    Postponed,
    Stage,
    Unverified,
    Urgent,
    kind,
)
from serving.queue.topology import Body, Edge, Place, Topology

_BODIES: dict[Stage, Body] = {
    Stage.PAYMENT: "none",
    Stage.SETTLEMENT: "none",
    Stage.ESCALATION: "none",
    Stage.DELIVERY: "envelope",
}
_REQUIRES = {Stage.PAYMENT: ("envelope",), Stage.DELIVERY: ("envelope", "payment")}
_PAYERS = ("wallet:", "debt:", "advances", "card:", "hold:")
_ACCOUNTS = {Stage.PAYMENT: (*_PAYERS, "allowances"), Stage.SETTLEMENT: (*_PAYERS, "revenue")}
_ANALYSES = frozenset({Stage.AUTHENTICATION, Stage.CLASSIFICATION, Stage.REANALYSIS})
_PRIORITY: dict[type[Outcome], bool] = {
    **dict.fromkeys((Urgent, Postponed, FailedOpen), True),
    **dict.fromkeys((NotUrgent, Unverified), False),
}


def topology() -> Topology:
    """The pipeline's table in the broker's terms."""
    places = {
        stage.value: Place(
            _BODIES.get(stage, "message"),
            {kind(outcome): _edge(outcome, to) for outcome, to in edges.items()},
            _REQUIRES.get(stage, ()),
            _ACCOUNTS.get(stage, ()),
            stage in _ANALYSES,
        )
        for stage, edges in TABLE.items()
    }
    entries = ENTRY, Stage.DIGEST, DIGEST_ENTRY, WATCH, ANSWERS
    return Topology(places, *(entry.value for entry in entries))


def _edge(outcome: type[Outcome], to: Destination) -> Edge:
    urgent = _PRIORITY.get(outcome)
    match to:
        case Stage():
            return Edge("stage", to.value, urgent)
        case End():
            return Edge("end", to.value, urgent)
        case Parked(stage):
            return Edge("parked", stage.value, urgent)
        case Deferred(stage):
            return Edge("deferred", stage.value, urgent)
