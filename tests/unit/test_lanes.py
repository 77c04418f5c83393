"""Who may be sent now, and who comes again later: slots and order, at a time that the test sets."""

import asyncio
from contextlib import ExitStack
from random import Random

import pytest

from serving.delivery import lanes as module
from serving.delivery.lanes import LONGEST, LONGEST_URGENT, SLOW, TURNS, Crowded, Lanes, Place

PLACES = 64


class Clock:
    """Monotonic seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(module, "PATIENCE", 0.001)
    return Clock()


def lanes(clock: Clock, *, rate: float = 0.0, places: int = PLACES, connections: int = 10) -> Lanes:
    return Lanes(places=places, connections=connections, rate=rate, clock=clock, random=Random(1))  # noqa: S311


async def hang(lanes: Lanes, destination: str, mails: int, *, urgent: bool = False) -> int:
    """How many of so many mails get a place, which none of them leaves."""
    entered = [await lanes.enter(destination, urgent=urgent) for _ in range(mails)]
    return sum(isinstance(place, Place) for place in entered)


async def go_well(lanes: Lanes, destination: str, mails: int = 20) -> None:
    for _ in range(mails):
        place = await lanes.enter(destination, urgent=False)
        assert isinstance(place, Place)
        with place:
            place.answered()


async def test_three_destinations_that_hang_leave_room_for_a_fourth(clock: Clock) -> None:
    """A thousand mails for each hold a few places, however often they come again; an urgent one goes at once."""
    served = lanes(clock)
    held = 0
    for _ in range(20):
        held += sum([await hang(served, f"{number}.example", 50) for number in range(3)])
        clock.now += 2 * SLOW

    place = await served.enter("quick.example", urgent=True)

    assert held == served.busy() - 1 == 6
    assert isinstance(place, Place)


async def test_destinations_that_nobody_knows_share_half_of_the_places(clock: Clock) -> None:
    """A thousand domains that all hang are no more than one that does; and urgent mail has a quarter besides."""
    served = lanes(clock)
    await go_well(served, "quick.example")
    normal = sum([await hang(served, f"{number}.example", 1) for number in range(100)])
    urgent = sum([await hang(served, f"{number}.urgent.example", 1, urgent=True) for number in range(100)])
    quick = await hang(served, "quick.example", 10)

    assert (normal, urgent) == (PLACES // 2, PLACES // 4)
    assert quick == 0  # by now even these are urgent mail's alone
    assert await hang(served, "quick.example", 10, urgent=True) == 10


async def test_all_that_went_well_and_hangs_at_once_leaves_a_quarter_for_urgent_mail(clock: Clock) -> None:
    """A network that goes down takes every destination with it but the one that is asked for help."""
    served = lanes(clock)
    for number in range(9):
        await go_well(served, f"{number}.example")
    held = sum([await hang(served, f"{number}.example", 20) for number in range(9)])

    assert held == PLACES * 3 // 4
    assert await hang(served, "8.example", 20, urgent=True) >= 1


async def test_a_destination_gets_more_connections_as_mails_go_well_and_fewer_when_nobody_answers(clock: Clock) -> None:
    """Nobody is flooded at first, and nobody who is down is knocked at by all."""
    served = lanes(clock)
    limits = []
    for well in (True, True, True, True, True, True, True, True, True, True, False, False, False, False, True):
        with ExitStack() as stack:
            places = [await served.enter("lab.example", urgent=False) for _ in range(12)]
            limits.append(sum(isinstance(place, Place) for place in places))
            first, *others = (place for place in places if isinstance(place, Place))
            for place in others:
                served._freed(place, place._lane)  # these leave no opinion
            stack.enter_context(first)
            if well:
                first.answered()

    assert limits == [2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 5, 2, 1, 1]


async def test_a_slow_destination_gets_all_its_connections_only_where_there_is_no_other(clock: Clock) -> None:
    """A smarthost that looks into each mail for ten seconds is all there is; a domain that does so is not."""

    async def limit(served: Lanes) -> int:
        for _ in range(20):
            place = await served.enter("slow.example", urgent=False)
            assert isinstance(place, Place)
            clock.now += 2 * SLOW
            with place:
                place.answered()
        return await hang(served, "slow.example", 20)

    alone, beside = lanes(clock), lanes(clock)
    await hang(beside, "other.example", 1)

    assert await limit(alone) == 10
    assert await limit(beside) == 5


async def test_urgent_mail_goes_before_what_waited_longer(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one destination too: a smarthost is all there is."""
    monkeypatch.setattr(module, "PATIENCE", 30.0)
    served = lanes(clock, connections=1)
    first = await served.enter("relay.example", urgent=True)
    assert isinstance(first, Place)
    second = await served.enter("relay.example", urgent=True)
    assert isinstance(second, Place)
    order: list[str] = []

    async def send(name: str, urgent: bool) -> None:
        place = await served.enter("relay.example", urgent=urgent)
        assert isinstance(place, Place)
        with place:
            order.append(name)
            place.answered()

    async with asyncio.TaskGroup() as tasks:
        for name, urgent in (("normal 1", False), ("normal 2", False), ("urgent", True)):
            tasks.create_task(send(name, urgent))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for place in (first, second):
            with place:
                place.answered()

    assert order == ["urgent", "normal 1", "normal 2"]


async def test_what_is_turned_away_comes_again_one_after_the_other_and_within_minutes(clock: Clock) -> None:
    """All at once they would only be turned away again, each time with a line in its history."""
    served = lanes(clock)
    await hang(served, "lab.example", 2)
    clock.now += 2 * SLOW
    delays = [await served.enter("lab.example", urgent=False) for _ in range(1000)]
    urgent = await served.enter("lab.example", urgent=True)
    again = await served.enter("lab.example", urgent=True)

    assert all(isinstance(each, Crowded) and each.delay <= LONGEST for each in delays)
    assert sum(each.delay for each in delays if isinstance(each, Crowded)) > 500 * LONGEST / 2
    assert isinstance(urgent, Place)
    assert isinstance(again, Crowded)
    assert again.delay <= LONGEST_URGENT


async def test_ten_thousand_urgent_mails_for_one_server_that_hangs_are_not_all_the_time_on_their_way(
    clock: Clock,
) -> None:
    """Each turn is a claim and a commit: one customer's dead server would take the store from everybody's alarms."""
    served = lanes(clock)
    await hang(served, "lab.example", 3, urgent=True)
    clock.now += 2 * SLOW
    delays = [await served.enter("lab.example", urgent=True) for _ in range(10_000)]
    turns = sum(1 / each.delay for each in delays if isinstance(each, Crowded))

    assert turns < 10 * TURNS
    assert all(isinstance(each, Crowded) and each.delay <= LONGEST for each in delays)
    assert isinstance(delays[0], Crowded)
    assert delays[0].delay <= LONGEST_URGENT


async def test_where_nobody_answers_it_comes_again_after_as_long_as_nobody_has(clock: Clock) -> None:
    """A restart of seconds costs seconds, and an outage of hours does not fill the history."""
    served = lanes(clock)
    seen = []
    for down in (0.0, 20.0, 3600.0):
        clock.now += down
        for _ in range(2):  # after the first there is one place at a time
            place = await served.enter("lab.example", urgent=False)
            assert isinstance(place, Place)
            with place:
                turned = await served.enter("lab.example", urgent=False)
            if isinstance(turned, Place):
                with turned:
                    pass
        assert isinstance(turned, Crowded)
        seen.append(turned.delay)

    assert SLOW / 2 <= seen[0] <= SLOW
    assert 10 <= seen[1] <= 20
    assert LONGEST / 2 <= seen[2] <= LONGEST


async def test_a_rate_lets_a_seconds_worth_go_at_once_and_then_one_at_a_time(clock: Clock) -> None:
    """Receivers slow down or block who sends faster; urgent mail does not wait for it."""
    served = lanes(clock, rate=5.0, connections=100)

    async def go(urgent: bool) -> bool:
        place = await served.enter("lab.example", urgent=urgent)
        if isinstance(place, Place):
            with place:
                place.answered()
        return isinstance(place, Place)

    at_once = sum([await go(False) for _ in range(20)])
    later = []
    for _ in range(10):
        clock.now += 0.1
        later.append(await go(False))

    assert at_once == 5
    assert sum(later) == 5
    assert await go(True)


async def test_who_stops_waiting_takes_no_place_along(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that is told to stop cancels what it works on; a place that nobody leaves would be lost for good."""
    monkeypatch.setattr(module, "PATIENCE", 30.0)
    served = lanes(clock, connections=1)
    place = await served.enter("lab.example", urgent=False)
    assert isinstance(place, Place)
    waiting = asyncio.create_task(served.enter("lab.example", urgent=False))
    await asyncio.sleep(0)
    with place:
        place.answered()  # which gives the place to who waits, and who is then cancelled before it knows
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert served.busy() == 0


async def test_ten_thousand_domains_are_remembered_and_no_more(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes to ever new domains must not fill our memory."""
    monkeypatch.setattr(module, "REMEMBERED", 100)
    served = lanes(clock)
    for number in range(1000):
        await go_well(served, f"{number}.example", 1)

    assert len(served._lanes) == 100
