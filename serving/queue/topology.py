"""What the broker knows of the pipeline: stages, the edges between them, and what each stage needs and may touch.

The broker gets it as JSON when it starts; it imports nothing of the stages.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from serving.errors import ConfigurationError

Body = Literal["message", "envelope", "none"]
Kind = Literal["stage", "end", "parked", "deferred"]


@dataclass(frozen=True, slots=True)
class Edge:
    """Where an outcome leads: a stage at once, a stage after a wait, or an end. `urgent` sets the priority class."""

    kind: Kind
    to: str
    urgent: bool | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One stage: what body its leases carry, its edges, what a row must have to enter, what accounts it may post to.

    `analyses` is true up to the stage that reads the history: a message's own arrival grows the history once all its
    notifications have passed these, so that none sees another of the same message.
    """

    body: Body
    edges: Mapping[str, Edge]
    requires: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    analyses: bool = False


@dataclass(frozen=True, slots=True)
class Topology:
    """All stages, where a new message enters, where a digest does, where a watch waits, and where a recipient's answer
    enters."""

    places: Mapping[str, Place]
    entry: str
    digest: str
    digest_entry: str
    watch: str
    answers: str

    def write(self, path: Path) -> None:
        """Write it as JSON for the broker."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Topology":
        """The topology in that file; ConfigurationError when it is none."""
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            places = {name: _place(place) for name, place in tree["places"].items()}
            entries = (tree[name] for name in ("entry", "digest", "digest_entry", "watch", "answers"))
            topology = cls(places, *entries)
            topology._check()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{path.name} holds no topology; write it with `clarion topology`") from error
        return topology

    def _check(self) -> None:
        led_to = {edge.to for place in self.places.values() for edge in place.edges.values() if edge.kind != "end"}
        entries = {self.entry, self.digest, self.digest_entry, self.watch, self.answers}
        unknown = (led_to | entries) - self.places.keys()
        if unknown:
            raise ValueError("an edge leads to a stage that there is not")


def _place(tree: Mapping[str, object]) -> Place:
    fields = dict(tree)
    edges = {name: Edge(**edge) for name, edge in fields.pop("edges").items()}  # type: ignore[attr-defined]
    body = fields["body"]
    requires, accounts = fields["requires"], fields["accounts"]
    return Place(body, edges, tuple(requires), tuple(accounts), bool(fields["analyses"]))  # type: ignore[arg-type]
