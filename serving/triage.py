"""What becomes of mail that is not urgent: the recipient's wishes decide, within what is certified and verified.

The load rule: while more than `busy_at` notifications are queued, a delay grows in proportion to how many are, to at
most `LONGEST_STRETCH` times its length. A digest is never put off by load, and nothing is dropped because of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from serving.pipeline import Delayed, Digested, Discarded
from serving.stage import Work

LONGEST_STRETCH = 4.0
SHORTEST_INTERVAL = 60.0
LONGEST_INTERVAL = 30 * 86_400.0
LOAD_AGE = 5.0


class Reader(Protocol):
    """What triage asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a recipient wants done with mail that is not urgent. Durations in seconds."""

    not_urgent: str = "digest"
    digest_every: float = 86_400.0
    delay: float = 3_600.0

    @classmethod
    def read(cls, stored: Mapping[str, Any], defaults: "Wishes") -> "Wishes":
        """The stored wishes; whatever is absent or makes no sense falls back to the defaults."""
        wish = stored.get("not_urgent")
        return cls(
            wish if wish in ("digest", "delay", "discard") else defaults.not_urgent,
            _interval(stored.get("digest_every"), defaults.digest_every),
            _interval(stored.get("delay"), defaults.delay),
        )


class Triage:
    """Decides between discard, digest and delay for one notification."""

    def __init__(
        self, client: Reader, clock: Callable[[], float], *, defaults: Wishes | None = None, busy_at: int = 1000
    ) -> None:
        self._client = client
        self._clock = clock
        self._defaults = defaults or Wishes()
        self._busy_at = busy_at
        self._stretch = (float("-inf"), 1.0)

    async def handle(self, work: Work) -> Discarded | Digested | Delayed:
        """Discarded only if wished and below the certified threshold; unverified mail is always Digested."""
        rows = await self._client.query("recipient", lookup=work.recipient.hex())
        wishes = Wishes.read(rows[0]["wishes"] if rows else {}, self._defaults)
        if work.facts.get("authentication", {}).get("outcome") != "authenticated":
            return self._digest(wishes, "the sender is unverified")
        if wishes.not_urgent == "discard":
            return self._discard(wishes, work.facts.get("prediction", {}))
        if wishes.not_urgent == "delay":
            return await self._delay(wishes, work.accepted_at)
        return self._digest(wishes, "the recipient's digest")

    def _discard(self, wishes: Wishes, prediction: Mapping[str, Any]) -> Discarded | Digested:
        match prediction:
            case {
                "may_discard": True,
                "score": float(score),
                "discard_threshold": float(threshold),
                "bound": float(bound),
                "confidence": float(confidence),
            } if score <= threshold:
                certainty = f"with {100 * confidence:g}% confidence less than {100 * bound:g}% of urgent mail"
                rule = f"the recipient's wish; {certainty} scores at or below {threshold:.4g}"
                return Discarded(rule, score, threshold, bound)
            case _:
                return self._digest(wishes, "discard wished, but the score is not below a certified threshold")

    def _digest(self, wishes: Wishes, rule: str) -> Digested:
        periods = self._clock() // wishes.digest_every + 1
        return Digested(periods * wishes.digest_every, rule)

    async def _delay(self, wishes: Wishes, accepted_at: float) -> Delayed:
        stretch = await self._load_stretch()
        until = max(self._clock(), accepted_at + wishes.delay * stretch)
        return Delayed(
            until, "the recipient's delay" if stretch == 1.0 else f"the recipient's delay, x {stretch:.1f} by load"
        )

    async def _load_stretch(self) -> float:
        """How much longer a delay is now; asked of the store once in `LOAD_AGE` seconds."""
        now = self._clock()
        if now - self._stretch[0] >= LOAD_AGE:
            depths = await self._client.query("depths")
            queued = sum(depth["count"] for depth in depths if depth["state"] == "queued")
            self._stretch = (now, min(max(queued / self._busy_at, 1.0), LONGEST_STRETCH))
        return self._stretch[1]


def _interval(value: object, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return default
    return float(min(max(value, SHORTEST_INTERVAL), LONGEST_INTERVAL))
