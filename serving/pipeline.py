"""The sentence: which stages there are, how each can end, and where each outcome leads. Nothing else knows the order.

receive → authenticate → analyze → urgent?       → encrypt → pay → deliver → settle → recipient
                            ↑    → not urgent?   → triage: discard | digest | delay
                            └──── → model error? → reanalyze (bounded), then fail open
                                                             pay → no money? → ask, wait; then expire | owe | digest
    urgent and delivered, but nobody acknowledges → escalate: the next channel or person, until one does or none is left
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from serving.decisions import FailedOpen as FailedOpen
from serving.decisions import NotUrgent as NotUrgent
from serving.decisions import Postponed as Postponed
from serving.decisions import Uncertain as Uncertain
from serving.decisions import Unscored as Unscored
from serving.decisions import Urgent as Urgent
from serving.values import Envelope, Hold, Receipt, Results


class Stage(StrEnum):
    """A place where a notification waits for work; each is served by processes of its own."""

    AUTHENTICATION = "authentication"
    CLASSIFICATION = "classification"
    REANALYSIS = "reanalysis"
    TRIAGE = "triage"
    DIGEST = "digest"
    ENCRYPTION = "encryption"
    PAYMENT = "payment"
    DELIVERY = "delivery"
    SETTLEMENT = "settlement"
    NOTICE = "notice"
    ESCALATION = "escalation"


class End(StrEnum):
    """A state from which a notification never moves again."""

    DELIVERED = "delivered"
    DISCARDED = "discarded"
    REJECTED = "rejected"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Parked:
    """Nobody works on it until someone wakes it, or until its time is over; then it waits at `stage`."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not urgent: it waits for its time, then for work at `stage`."""

    stage: Stage


Destination = Stage | End | Parked | Deferred

# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The sender is who the From domain says; `method` tells by what (`api_key`, `dmarc`, `dkim`, `spf`, `arc`)."""

    method: str
    results: Results | None = None


@dataclass(frozen=True, slots=True)
class Unverified:
    """Nothing proves or disproves the sender; it goes to the digest and can never become urgent."""

    reason: str
    results: Results | None = None


@dataclass(frozen=True, slots=True)
class Forged:
    """The sender claims a domain that is proven not to be its own."""

    reason: str
    results: Results | None = None


@dataclass(frozen=True, slots=True)
class Discarded:
    """The recipient's wish: `score` is not above `threshold`, where less than the share `bound` of urgent mail lies."""

    rule: str
    score: float
    threshold: float
    bound: float


@dataclass(frozen=True, slots=True)
class Digested:
    """Part of the recipient's next digest, due at `until` (seconds since the epoch)."""

    until: float
    rule: str


@dataclass(frozen=True, slots=True)
class Delayed:
    """Delivered by itself, free, not before `until` (seconds since the epoch)."""

    until: float
    rule: str


@dataclass(frozen=True, slots=True)
class Bundled:
    """Written into the digest `via`; delivered when that digest is."""

    via: int


@dataclass(frozen=True, slots=True)
class Enclosed:
    """Ready to travel; somebody pays for it. The notification `watch` sees to it that somebody acknowledges it."""

    envelope: Envelope
    watch: int | None = None


@dataclass(frozen=True, slots=True)
class EnclosedFree:
    """Ready to travel; nobody pays, and `waiver` says why."""

    envelope: Envelope
    waiver: str
    watch: int | None = None


@dataclass(frozen=True, slots=True)
class Keyless:
    """The policy wants it sealed and there is no usable key: whoever may be told is told, and it is held."""

    reason: str


@dataclass(frozen=True, slots=True)
class KeyMissing:
    """The same where nobody is to be told, or was told already: held until a key is enrolled."""

    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    hold: Hold


@dataclass(frozen=True, slots=True)
class Waived:
    """Nobody pays; `reason` is the written policy's."""

    reason: str


@dataclass(frozen=True, slots=True)
class Free:
    """One of the free notifications that the recipient has each month: `account` counts them."""

    account: str


@dataclass(frozen=True, slots=True)
class Due:
    """The payer lacks `amount` minor units and was not asked yet; `until` (seconds since the epoch) there is time."""

    amount: int
    currency: str
    until: float


@dataclass(frozen=True, slots=True)
class Unfunded:
    """The payer lacks `amount` minor units: parked until somebody pays or `until` passes; it ends at `deadline`."""

    amount: int
    currency: str
    until: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Owed:
    """Nobody paid in time, and by policy it is delivered all the same: the hold is made of a debt."""

    hold: Hold


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Nobody paid in time, and by policy it is not delivered: its sender is told, unless `account` has the money."""

    amount: int
    currency: str
    account: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The payer has the request, notification `notice`, None where none can be written; look again at `until`."""

    notice: int | None
    until: float


@dataclass(frozen=True, slots=True)
class Expired:
    """The end of what nobody paid for; its sender has got the notification `notice`, None where none can be sent."""

    notice: int | None


@dataclass(frozen=True, slots=True)
class Told:
    """Whoever may know that it is held for want of a key was told, by `notices`; look again at `until`."""

    notices: tuple[int, ...]
    until: float


@dataclass(frozen=True, slots=True)
class PassedOn:
    """The recipient's answer is on its way to the sender, as the notification `notice`."""

    notice: int


@dataclass(frozen=True, slots=True)
class NotPassedOn:
    """The answer reaches nobody; who wrote it has got the notification `notice`, None where none can be written."""

    reason: str
    notice: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """The receiver refused for good, or the time for trying is over."""

    reply: str


@dataclass(frozen=True, slots=True)
class Captured:
    """The receiver has it and `amount` of the hold became revenue."""

    amount: int


@dataclass(frozen=True, slots=True)
class Unbilled:
    """The receiver has it and nobody pays."""

    waiver: str


@dataclass(frozen=True, slots=True)
class Returned:
    """It could not be delivered; whatever was held is the payer's again (`amount` minor units, 0 when none was)."""

    amount: int
    reply: str


@dataclass(frozen=True, slots=True)
class Watching:
    """Nobody is told yet; look again at `until` (seconds since the epoch), or once it ends or is acknowledged."""

    until: float


@dataclass(frozen=True, slots=True)
class Escalated:
    """A step of the chain was taken at `at`: by `channel` (`mail`, or `apprise:` and a scheme), with `notice` where it
    is a mail of ours. `is_lost` says that it reached nobody. Look again at `until`; all in seconds since the epoch."""

    round: int
    step: int
    channel: str
    at: float
    until: float
    notice: int | None = None
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Somebody has it, since `at` (seconds since the epoch): the person of that step, or the recipient (both 0)."""

    at: float
    round: int
    step: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The chain is over, `rounds` times, and nobody has acknowledged it."""

    rounds: int


@dataclass(frozen=True, slots=True)
class Unwatched:
    """There is nothing to watch any more: nobody paid for it, or there is no chain."""

    reason: str


Outcome = (
    Authenticated | Unverified | Forged
    | Urgent | Postponed | NotUrgent | Uncertain | Unscored | FailedOpen
    | Discarded | Digested | Delayed | Bundled
    | Enclosed | EnclosedFree | Keyless | KeyMissing
    | Held | Waived | Free | Due | Unfunded | Owed | Lapsed
    | Asked | Expired | Told
    | PassedOn | NotPassedOn
    | Sent | Undeliverable
    | Captured | Unbilled | Returned
    | Watching | Escalated | Acknowledged | Exhausted | Unwatched
)  # fmt: skip
# --- the table ------------------------------------------------------------------------------------------------------

TABLE: Mapping[Stage, Mapping[type[Outcome], Destination]] = {
    Stage.AUTHENTICATION: {
        Authenticated: Stage.CLASSIFICATION,
        Unverified: Stage.TRIAGE,
        Forged: End.REJECTED,
    },
    Stage.CLASSIFICATION: {
        Urgent: Stage.ENCRYPTION,
        Postponed: Deferred(Stage.ENCRYPTION),
        NotUrgent: Stage.TRIAGE,
        Uncertain: Stage.REANALYSIS,
        Unscored: Stage.REANALYSIS,
    },
    Stage.REANALYSIS: {
        Urgent: Stage.ENCRYPTION,
        Postponed: Deferred(Stage.ENCRYPTION),
        NotUrgent: Stage.TRIAGE,
        FailedOpen: Stage.ENCRYPTION,
    },
    Stage.TRIAGE: {
        Discarded: End.DISCARDED,
        Digested: Deferred(Stage.DIGEST),
        Delayed: Deferred(Stage.ENCRYPTION),
    },
    Stage.DIGEST: {Bundled: Deferred(Stage.DIGEST)},
    Stage.ENCRYPTION: {
        Enclosed: Stage.PAYMENT,
        EnclosedFree: Stage.DELIVERY,
        Keyless: Stage.NOTICE,
        KeyMissing: Parked(Stage.ENCRYPTION),
    },
    Stage.PAYMENT: {
        Held: Stage.DELIVERY,
        Waived: Stage.DELIVERY,
        Free: Stage.DELIVERY,
        Owed: Stage.DELIVERY,
        Due: Stage.NOTICE,
        Unfunded: Parked(Stage.PAYMENT),
        Lapsed: Stage.NOTICE,
        Digested: Deferred(Stage.DIGEST),
    },
    Stage.NOTICE: {
        Asked: Parked(Stage.PAYMENT),
        Expired: End.DEAD,
        Told: Parked(Stage.ENCRYPTION),
        PassedOn: End.DELIVERED,
        NotPassedOn: End.DEAD,
    },
    Stage.DELIVERY: {Sent: Stage.SETTLEMENT, Undeliverable: Stage.SETTLEMENT},
    Stage.SETTLEMENT: {Captured: End.DELIVERED, Unbilled: End.DELIVERED, Returned: End.DEAD},
    Stage.ESCALATION: {
        Watching: Parked(Stage.ESCALATION),
        Escalated: Parked(Stage.ESCALATION),
        Acknowledged: End.DELIVERED,
        Exhausted: End.DEAD,
        Unwatched: End.DISCARDED,
    },
}

ENTRY = Stage.AUTHENTICATION
DIGEST_ENTRY = Stage.ENCRYPTION
WATCH = Stage.ESCALATION
ANSWERS = Stage.NOTICE


def kind(outcome: type[Outcome]) -> str:
    """The outcome's name on the wire and in the history, e.g. `enclosed_free`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in outcome.__name__).lstrip("_")
