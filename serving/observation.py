"""What a mail and its recipient's reaction add to the history, under keys that tell nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Increment:
    """One history counter's growth. `key` is 32 octets, an HMAC; `at` is seconds since the epoch; `link` 0 for none."""

    key: bytes
    count: int
    at: float
    link: int = 0


@dataclass(frozen=True, slots=True)
class Reaction:
    """A history counter that a reaction grows by one if it comes `until` then, seconds since the epoch or infinity."""

    key: bytes
    until: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What a mail adds to the history now (`seen`), and what its recipient's reaction would add later (`reaction`)."""

    seen: tuple[Increment, ...]
    reaction: tuple[Reaction, ...]
