"""Who may be sent now: an urgent mail is never behind a slow destination of others.

The stage has a bounded number of leases; a destination that takes connections and then hangs would fill them all. So
each destination has a lane that grows by one connection with each mail that is answered, up to `connections` (half of
them where it is slow and not alone), and halves when nobody answers. Lanes that are slow, or of which nothing is known
yet, share half of the places; three quarters where their mail is urgent. A quarter of all places is urgent mail's
alone. What finds no place waits for `PATIENCE` seconds, urgent mail first, and then goes back to the queue, to come
again when its turn is likely; at a slow lane it goes back at once, and where nobody answers it comes again after as
long as nobody has, 5 minutes at most. So a lease is never held for long by mail that nobody works on, and there is one
soon for the most urgent mail of the store.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from types import TracebackType

PATIENCE = 1.0
SLOW = 5.0
"""Seconds in the making that make a mail's lane a slow one."""
SHORTEST, LONGEST, LONGEST_URGENT = 1.0, 300.0, 15.0
"""Seconds after which what found no place comes again."""
TURNS = 20.0
"""Urgent mails a second that come again for one destination, at most: each turn is work of the store's, and of ours."""
REMEMBERED = 10_000
_FIRST = 2
_BURST = 1.0


@dataclass(frozen=True, slots=True)
class Crowded:
    """There is no place; come again after `delay` seconds."""

    delay: float


@dataclass(eq=False, slots=True)
class _Lane:
    """Times are the clock's. `seconds` a mail took lately, `ill_since` nobody answers. `next_at`: when the next that is
    turned away may come, `next_urgent_at` of the urgent ones; `paid_until`: the rate's."""

    limit: int
    went_well: bool | None = None
    seconds: float = 0.0
    ill_since: float | None = None
    next_at: float = 0.0
    next_urgent_at: float = 0.0
    paid_until: float = 0.0
    busy: dict["Place", float] = field(default_factory=dict)

    def age(self, now: float) -> float:
        """Of the mail that has been longest in the making."""
        return now - next(iter(self.busy.values()), now)

    def is_slow(self, now: float) -> bool:
        return self.went_well is False or self.age(now) > SLOW

    def is_doubtful(self, now: float) -> bool:
        return self.went_well is None or self.is_slow(now)


class Place:
    """The right to send one mail; it ends with the block. Without `answered` in it, nobody answered."""

    def __init__(self, lanes: "Lanes", lane: _Lane) -> None:
        self._lanes, self._lane = lanes, lane
        self._answered = False

    def answered(self, yes: bool = True) -> None:
        """Whether a server said something, whatever it was."""
        self._answered = yes

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._lanes.leave(self, self._lane, answered=self._answered)


@dataclass(eq=False, slots=True)
class _Waiting:
    lane: _Lane
    urgent: bool
    admitted: "asyncio.Future[Place]"


class Lanes:
    """The places of one stage. `clock` is monotonic seconds."""

    def __init__(
        self, *, places: int, connections: int, rate: float, clock: Callable[[], float], random: Random
    ) -> None:
        """`places`: mails in the making at once; `connections`: of one destination; `rate`: mails a second to one
        destination, with a second's worth at once, 0 for any."""
        self._places = max(places, 4)
        self._connections = connections
        self._interval = 1 / rate if rate else 0.0
        self._clock = clock
        self._random = random
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._active: set[_Lane] = set()
        self._waiting: list[_Waiting] = []
        self._looking_again: asyncio.TimerHandle | None = None

    async def enter(self, destination: str, *, urgent: bool) -> Place | Crowded:
        """A place, to be left at the end of a `with`, or none."""
        lane = self._lane(destination)
        place = self._admitted(lane, urgent)
        if place is None and not lane.is_slow(self._clock()):
            place = await self._wait(_Waiting(lane, urgent, asyncio.get_running_loop().create_future()))
        return place or self._turn_away(lane, urgent)

    def leave(self, place: Place, lane: _Lane, *, answered: bool) -> None:
        """End a place: what its mail took and how it went decides about the lane's next ones."""
        now = self._clock()
        took = now - self._freed(place, lane)
        lane.seconds = took if lane.went_well is None else (lane.seconds + took) / 2
        went_well = answered and took <= SLOW
        if went_well and not lane.went_well:
            lane.next_at = now  # those that were turned away are not in its way any more
        lane.went_well = went_well
        lane.limit = self._limit(lane, answered)
        lane.ill_since = None if answered else lane.ill_since or now - took
        self._look()

    def busy(self) -> int:
        """How many are in the making."""
        return sum(len(lane.busy) for lane in self._active)

    def _limit(self, lane: _Lane, answered: bool) -> int:
        """How many connections it may have from now on; a slow one half as many, unless there is no other."""
        if not answered:
            return max(1, lane.limit // 2)
        is_free = lane.went_well or self._active <= {lane}
        most = self._connections if is_free else max(_FIRST, self._connections // 2)
        return min(lane.limit + 1, most)

    def _freed(self, place: Place, lane: _Lane) -> float:
        """When it was taken."""
        since = lane.busy.pop(place)
        if not lane.busy:
            self._active.discard(lane)
        return since

    def _lane(self, destination: str) -> _Lane:
        lane = self._lanes.setdefault(destination, _Lane(min(_FIRST, self._connections)))
        self._lanes.move_to_end(destination)
        if len(self._lanes) > REMEMBERED:
            oldest = next((name for name, each in self._lanes.items() if not each.busy), destination)
            if oldest != destination:
                del self._lanes[oldest]
        return lane

    def _admitted(self, lane: _Lane, urgent: bool) -> Place | None:
        now = self._clock()
        if not self._has_room(lane, urgent, now):
            return None
        place = Place(self, lane)
        lane.busy[place] = now
        self._active.add(lane)
        lane.paid_until = max(lane.paid_until, now) + self._interval
        return place

    def _has_room(self, lane: _Lane, urgent: bool, now: float) -> bool:
        """Urgent mail may have one connection more than other mail, and does not wait for the rate."""
        if len(lane.busy) >= lane.limit + urgent:
            return False
        if not urgent and lane.paid_until - now >= _BURST:
            return False
        quarter = self._places // 4
        if lane.is_doubtful(now):
            doubtful = sum(len(each.busy) for each in self._active if each.is_doubtful(now))
            return doubtful < (3 if urgent else 2) * quarter
        return self.busy() < self._places - (0 if urgent else quarter)

    async def _wait(self, waiting: _Waiting) -> Place | None:
        self._waiting.append(waiting)
        self._look_when_paid(waiting.lane)
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(waiting.admitted)
        except TimeoutError:
            return waiting.admitted.result() if waiting.admitted.done() else None
        except asyncio.CancelledError:
            if waiting.admitted.done():
                self._freed(waiting.admitted.result(), waiting.lane)
                self._look()
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _look(self) -> None:
        """Admit who waits and can go, urgent mail first, then whoever came first."""
        if self._looking_again is not None:
            self._looking_again.cancel()
            self._looking_again = None
        for waiting in sorted(self._waiting, key=lambda each: not each.urgent):
            place = self._admitted(waiting.lane, waiting.urgent)
            if place is not None:
                self._waiting.remove(waiting)
                waiting.admitted.set_result(place)
        if self._waiting:
            self._look_when_paid(min((each.lane for each in self._waiting), key=lambda lane: lane.paid_until))

    def _look_when_paid(self, lane: _Lane) -> None:
        """Nobody's leaving tells that the rate allows the next."""
        left = lane.paid_until - _BURST - self._clock()
        if self._interval and left >= 0 and self._looking_again is None:
            self._looking_again = asyncio.get_running_loop().call_later(left + 0.001, self._look)

    def _turn_away(self, lane: _Lane, urgent: bool) -> Crowded:
        """After those that were turned away before it, at the pace that the lane has."""
        now = self._clock()
        pace = max(max(lane.seconds, lane.age(now)) / lane.limit, self._interval)
        lane.next_at = min(max(lane.next_at, now) + pace, now + LONGEST)
        ill = SHORTEST if lane.ill_since is None else max(SLOW, now - lane.ill_since)
        delay = min(max(lane.next_at - now, ill), LONGEST)
        if urgent:
            lane.next_urgent_at = min(max(lane.next_urgent_at, now) + 1 / TURNS, now + LONGEST)
            delay = max(min(delay, LONGEST_URGENT), lane.next_urgent_at - now)
        return Crowded(delay * self._random.uniform(0.5, 1.0))
