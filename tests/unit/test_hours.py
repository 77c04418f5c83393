"""Times of day in every time zone of the world, through every change of its clocks."""

from collections.abc import Iterator
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.wishes.hours import Quiet, Times

BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86_400.0
zones = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
moments = st.floats(315_532_800.0, 2_145_916_800.0)  # 1980 to 2037: later, zones follow rules that may change
of_day = st.times().map(lambda each: each.replace(second=0, microsecond=0, tzinfo=None))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def wall(moment: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment, zone)


def minutes_after(now: float, zone: ZoneInfo, days: int = 2) -> Iterator[tuple[float, datetime]]:
    """Each full minute from `now` on, and what clocks show then: the slow way, to compare with."""
    first = now // 60 * 60
    for minute in range(1, days * 1_440 + 1):
        yield first + minute * 60, wall(first + minute * 60, zone)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2027-03-27T12:00", "2027-03-28T01:30"),  # 02:30 is skipped: it comes at 03:30, summer time
        ("2027-03-28T01:30", "2027-03-29T00:30"),  # and not once more that day
        ("2027-10-30T12:00", "2027-10-31T00:30"),  # 02:30 happens twice: the first counts
        ("2027-10-31T00:30", "2027-11-01T01:30"),  # and the second does not
        ("2027-10-31T00:45", "2027-11-01T01:30"),
        ("2026-11-29T01:29:59", "2026-11-29T01:30"),
    ],
)
def test_half_past_two_through_both_changes_of_the_clock(now: str, expected: str) -> None:
    """A digest that is due at 02:30 comes once on each day of the year."""
    assert Times((time(2, 30),), BERLIN).next_after(at(now)) == at(expected)


def test_a_time_that_is_skipped_over_midnight_comes_on_the_next_day() -> None:
    """In Nuuk the last hour of a Saturday in March is skipped: 23:30 comes at 00:30, and 23:30 that evening too."""
    late = Times((time(23, 30),), ZoneInfo("America/Nuuk"))

    assert late.next_after(at("2025-03-30T01:10")) == at("2025-03-30T01:30")
    assert late.next_after(at("2025-03-30T01:30")) == at("2025-03-31T00:30")


@settings(max_examples=200, deadline=None)
@given(zones, moments, of_day)
def test_the_next_time_is_the_first_minute_at_which_clocks_show_it(zone: ZoneInfo, now: float, when: time) -> None:
    """In any zone, on any day; where the minute is skipped, it is later by as much as clocks go forward."""
    found = Times((when,), zone).next_after(now)
    shown = (moment for moment, clock in minutes_after(now, zone) if clock.time() == when and clock.fold == 0)
    first = next(shown, None)

    assert found > now
    if wall(found, zone).time() == when:
        assert found == first
    else:  # in a gap: no clock showed that time on that day
        assert first is None or found < first


@settings(max_examples=200, deadline=None)
@given(zones, moments, st.lists(of_day, min_size=1, max_size=4, unique=True))
def test_no_day_goes_by_without_its_times(zone: ZoneInfo, now: float, times: list[time]) -> None:
    """Going from one to the next, each comes after the last, and a day has as many as were wished, but for changes."""
    days, found = 8, [now]
    calendar = Times(tuple(times), zone)
    while found[-1] < now + days * DAY:
        found.append(calendar.next_after(found[-1]))

    assert found == sorted(set(found))
    assert abs(len(found) - 1 - days * len(times)) <= 2 * len(times)


@settings(max_examples=100, deadline=None)
@given(zones, moments, of_day, st.integers(0, 6))
def test_a_weekly_time_comes_on_its_day(zone: ZoneInfo, now: float, when: time, weekday: int) -> None:
    """Whoever wants less mail gets it on the day that they know."""
    first = Times((when,), zone, weekday).next_after(now)
    second = Times((when,), zone, weekday).next_after(first)

    assert now < first <= now + 16 * DAY  # Samoa has had a week without a Friday
    assert 6 * DAY < second - first < 15 * DAY
    if wall(first, zone).time() == when:
        assert wall(first, zone).weekday() == weekday


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-29T20:59", "2026-11-29T20:59"),
        ("2026-11-29T21:00", "2026-11-30T06:00"),
        ("2026-11-30T05:59:59", "2026-11-30T06:00"),
        ("2026-11-30T06:00", "2026-11-30T06:00"),
        ("2027-03-27T23:00", "2027-03-28T05:00"),  # an hour less to wait
        ("2027-10-30T23:00", "2027-10-31T06:00"),  # an hour more
    ],
)
def test_quiet_hours_last_over_midnight_until_their_end(now: str, expected: str) -> None:
    """From 22:00 to 07:00 on Berlin's clocks, summer and winter."""
    assert Quiet(time(22), time(7), BERLIN).over(at(now)) == at(expected)


def test_quiet_hours_end_once_where_clocks_go_back() -> None:
    """They end at the first 02:30; the second must not begin them anew until tomorrow."""
    quiet = Quiet(time(22), time(2, 30), BERLIN)

    assert quiet.over(at("2027-10-31T00:15")) == at("2027-10-31T00:30")
    assert quiet.over(at("2027-10-31T01:15")) == at("2027-10-31T01:15")


@settings(max_examples=200, deadline=None)
@given(zones, moments, of_day, of_day)
def test_quiet_hours_put_off_for_a_day_at_most_and_never_twice(
    zone: ZoneInfo, now: float, start: time, end: time
) -> None:
    """Nothing may be put off for ever, and what was put off to their end is delivered then."""
    quiet = Quiet(start, end, zone)
    over = quiet.over(now)

    assert now <= over <= now + 2 * DAY
    assert quiet.over(over) == over


@settings(max_examples=200, deadline=None)
@given(zones, moments, of_day, of_day)
def test_by_the_clock_quiet_hours_are_what_they_say(zone: ZoneInfo, now: float, start: time, end: time) -> None:
    """On days without a change, looking at the clock is enough."""
    if len({wall(now + hours * 3_600, zone).utcoffset() for hours in range(-48, 49)}) > 1 or start == end:
        return
    shown = wall(now, zone).time()
    within = start <= shown < end if start < end else shown >= start or shown < end

    assert (Quiet(start, end, zone).over(now) > now) == within
