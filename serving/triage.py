"""What becomes of mail that is not urgent: the recipient's wishes decide, within what is certified and verified.

The rules, in their order; the first that fits decides:

| | mail | becomes of it |
|---|---|---|
| 1 | of an unverified sender | digest; neither its words nor the address it claims count on any list |
| 2 | urgent or not, of a sender that never passes (but urgent mail of senders that are registered as life-safety) | digest; discarded where that is wished and certified |
| 3 | urgent | paid for and delivered at once; after the quiet hours where `urgent` is `waits` (life-safety: at once) |
| 4 | not urgent, with words that never pass | as 2 |
| 5 | of a sender or with words that always pass | delivered at once, free |
| 6 | any other | as `not_urgent` says: discarded where that is certified, digest, delay, deliver |

Rules 2 and 3 are kept where the mail is read (`serving.personal`); what fails open there is delivered at once. Which of
4 and 5 comes first where both fit is said in `serving.wishes.lists`. Whatever 1 to 6 make of it, quiet hours put off
its delivery or its digest to their end and drop nothing.

The load rule: while more than `busy_at` notifications are queued, a delay grows in proportion to how many are, to at
most `LONGEST_STRETCH` times its length. A digest is never put off by load, nor what always passes or is to be delivered
at once, and nothing is dropped because of it.
"""  # noqa: E501 - a table

from collections.abc import Callable, Mapping
from typing import Any, Protocol, assert_never

from serving.pipeline import Delayed, Digested, Discarded
from serving.stage import Work
from serving.wishes.wish import Wishes

LONGEST_STRETCH = 4.0
LOAD_AGE = 5.0


class Reader(Protocol):
    """What triage asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


class Triage:
    """Decides between discard, digest, delay and delivery for one notification."""

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
        prediction = work.facts.get("prediction", {})
        if work.facts.get("authentication", {}).get("outcome") != "authenticated":
            return self._digest(wishes, "the sender is unverified")
        match work.facts.get("match"):
            case {"list": "never", "by": str(by), "number": int(number)}:
                return self._never(
                    wishes, prediction, f"the recipient's list of what never passes, entry {number} ({by})"
                )
            case {"list": "always", "by": str(by), "number": int(number)}:
                return self._deliver(wishes, f"the recipient's list of what always passes, entry {number} ({by})")
            case _:
                return await self._wished(wishes, prediction, work.accepted_at)

    async def _wished(
        self, wishes: Wishes, prediction: Mapping[str, Any], accepted_at: float
    ) -> Discarded | Digested | Delayed:
        match wishes.not_urgent:
            case "discard":
                return self._discard(wishes, prediction, "the recipient's wish")
            case "delay":
                return await self._delay(wishes, accepted_at)
            case "deliver":
                return self._deliver(wishes, "the recipient's wish to have it at once")
            case "digest":
                return self._digest(wishes, "the recipient's digest")
            case _:
                assert_never(wishes.not_urgent)

    def _never(self, wishes: Wishes, prediction: Mapping[str, Any], rule: str) -> Discarded | Digested:
        return self._discard(wishes, prediction, rule) if wishes.not_urgent == "discard" else self._digest(wishes, rule)

    def _discard(self, wishes: Wishes, prediction: Mapping[str, Any], wish: str) -> Discarded | Digested:
        match prediction:
            case {
                "may_discard": True,
                "score": float(score),
                "discard_threshold": float(threshold),
                "bound": float(bound),
                "confidence": float(confidence),
            } if score <= threshold:
                certainty = f"with {100 * confidence:g}% confidence less than {100 * bound:g}% of urgent mail"
                rule = f"{wish}; {certainty} scores at or below {threshold:.4g}"
                return Discarded(rule, score, threshold, bound)
            case _:
                return self._digest(wishes, f"{wish}; not discarded: the score is not below a certified threshold")

    def _digest(self, wishes: Wishes, rule: str) -> Digested:
        return Digested(wishes.next_digest(self._clock()), rule)

    def _deliver(self, wishes: Wishes, rule: str) -> Delayed:
        return self._put_off(wishes, self._clock(), rule)

    async def _delay(self, wishes: Wishes, accepted_at: float) -> Delayed:
        stretch = await self._load_stretch()
        until = max(self._clock(), accepted_at + wishes.delay * stretch)
        rule = "the recipient's delay" if stretch == 1.0 else f"the recipient's delay, x {stretch:.1f} by load"
        return self._put_off(wishes, until, rule)

    def _put_off(self, wishes: Wishes, until: float, rule: str) -> Delayed:
        """Not before the quiet hours are over."""
        over = wishes.after_quiet(until)
        return Delayed(over, rule if over == until else f"{rule}; after the quiet hours")

    async def _load_stretch(self) -> float:
        """How much longer a delay is now; asked of the store once in `LOAD_AGE` seconds."""
        now = self._clock()
        if now - self._stretch[0] >= LOAD_AGE:
            depths = await self._client.query("depths")
            queued = sum(depth["count"] for depth in depths if depth["state"] == "queued")
            self._stretch = (now, min(max(queued / self._busy_at, 1.0), LONGEST_STRETCH))
        return self._stretch[1]
