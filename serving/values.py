"""What outcomes carry: the classifier's word, a mail ready to travel, money set aside, the receiver's words."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Prediction:
    """The classifier's word. `score` is a calibrated probability of "urgent". With `confidence`, less than the share
    `bound` of urgent mail like this scores at or below `discard_threshold`; without a certificate all three are None
    and `may_discard` is false. `offset` is how far the recipient's urgent threshold was moved, in log-odds."""

    label: Literal["urgent", "not_urgent"]
    score: float
    bound: float | None
    may_discard: bool
    model_version: str
    discard_threshold: float | None = None
    confidence: float | None = None
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Results:
    """What was found of a relayed mail: `words` name methods and results alone, `field` is the whole
    Authentication-Results (RFC 8601) sealed with the content key, for it names domains. Made by `authentication`
    alone."""

    words: str
    field: bytes


Method = Literal["openpgp", "smime"]
"""PGP/MIME (RFC 3156) or S/MIME (RFC 8551)."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A mail that only its recipient can read, itself sealed for the delivery stage. Made by `encryption` alone."""

    body: bytes
    method: Method


@dataclass(frozen=True, slots=True)
class OpenByPolicy:
    """A mail that travels open because a written policy says so (`policy` says whose), or because it is a notice to a
    sender, which holds nothing of any mail. Made by `encryption` alone."""

    body: bytes
    policy: Literal["recipient", "sender", "notice"]


Envelope = Sealed | OpenByPolicy


@dataclass(frozen=True, slots=True)
class Hold:
    """Money set aside for one notification, in minor units, from `account`: a wallet, a debt, or the payer's card,
    where `reference` is the provider's name for what is held. After `until` (seconds since the epoch; 0 for
    never) it is not delivered any more, and what is held goes back. Made by `payment` alone."""

    amount: int
    currency: str
    account: str
    reference: str = ""
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receiver's own words: it has the mail. `relayed`: the sender wants to be told of success, and this server
    does not report (RFC 3461), so that it is for us to say how far it came."""

    code: int
    text: str
    message_id: str
    relayed: bool = False


def flat(value: Any) -> dict[str, Any]:
    """A value's fields by name, as they are: `dataclasses.asdict` copies what they hold, which takes ten times as
    long."""
    return {name: getattr(value, name) for name in type(value).__match_args__}
