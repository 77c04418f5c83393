"""A recipient's chain: whom and what an urgent mail goes to, and after how long, while nobody acknowledges it.

It holds addresses, phone numbers and tokens, so it is stored as one sealed blob.
"""

import json
from dataclasses import dataclass
from typing import Any

MOST_STEPS, MOST_ROUNDS = 10, 10
SHORTEST, LONGEST = 1.0, 7 * 86_400.0
"""Seconds that a step may wait."""


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled recipient, by address."""

    address: str


@dataclass(frozen=True, slots=True)
class Push:
    """A channel of the same person, as a URL that Apprise knows."""

    url: str

    @property
    def scheme(self) -> str:
        """What may be told of it: the rest may hold tokens and numbers."""
        return self.url.partition("://")[0].lower()


@dataclass(frozen=True, slots=True)
class Step:
    """Taken `after` so many seconds in which nobody has acknowledged the mail."""

    after: float
    to: Person | Push


@dataclass(frozen=True, slots=True)
class Place:
    """How far a chain was gone: rounds and steps are counted from 1; both are 0 before the first step."""

    round: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps in their order, gone through `rounds` times."""

    steps: tuple[Step, ...]
    rounds: int = 1

    def following(self, place: Place) -> Place | None:
        """The step behind that one, None behind the last of the last round; a chain may have changed meanwhile."""
        if place.round > 0 and place.step >= len(self.steps):
            return Place(place.round + 1, 1) if place.round < self.rounds else None
        return Place(max(place.round, 1), place.step + 1) if place.round <= self.rounds else None

    def wait(self, place: Place, *, is_lost: bool) -> float:
        """Seconds from that step to the next, or to the chain's end: none where it `is_lost`, having reached nobody.
        Every further round, and the end, come after the first step's time all the same: broken channels need time."""
        following = self.following(place)
        if following is None or following.round > max(place.round, 1):
            return self.steps[0].after
        return 0.0 if is_lost else self.steps[following.step - 1].after


def write_chain(chain: Chain) -> bytes:
    """As octets to be sealed."""
    steps = [{"after": step.after, **_written(step.to)} for step in chain.steps]
    return json.dumps({"rounds": chain.rounds, "steps": steps}).encode()


def read_chain(octets: bytes) -> Chain:
    """What `write_chain` wrote; ValueError or KeyError for anything else."""
    tree = json.loads(octets)
    steps = tuple(Step(float(each["after"]), _read(each)) for each in tree["steps"])
    if not steps:
        raise ValueError("a chain has a step")
    return Chain(steps, int(tree["rounds"]))


def _written(to: Person | Push) -> dict[str, str]:
    return {"mail": to.address} if isinstance(to, Person) else {"apprise": to.url}


def _read(step: dict[str, Any]) -> Person | Push:
    return Person(str(step["mail"])) if "mail" in step else Push(str(step["apprise"]))
