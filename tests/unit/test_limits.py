"""How much a caller may ask, and how long an address waits: by a clock that stands until it is moved."""

import pytest

from serving.gateway.limits import (
    FAILURES,
    FIRST_LOCK,
    FORGIVEN_AFTER,
    LONGEST_LOCK,
    MOST,
    WINDOW,
    Allowance,
    Lockouts,
    Rates,
)
from tests.unit.gateways import Clock


def lock(lockouts: Lockouts, address: str = "192.0.2.1") -> None:
    """As many failures as it takes."""
    assert [lockouts.failed(address) for _ in range(FAILURES)] == [0] * FAILURES


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    """An incident is many mails at once; a loop that went wild is many for ever."""
    clock = Clock()
    rates = Rates(2.0, 4, clock)
    burst = [rates.take("p") for _ in range(5)]
    clock.now += 0.5
    after = [rates.take("p") for _ in range(2)]

    assert [each.remaining for each in burst if each] == [3, 2, 1, 0, 0]
    assert [each.wait for each in burst if each] == [0, 0, 0, 0, 1]
    assert [each.wait for each in after if each] == [0, 1]


def test_one_sender_s_flood_is_not_another_s() -> None:
    """Who behaves must not notice who does not."""
    rates = Rates(1.0, 1, Clock())
    waits = [allowance.wait for name in ("p", "p", "q") if (allowance := rates.take(name))]

    assert waits == [0, 1, 0]


def test_a_clock_that_is_set_back_gives_and_takes_nothing() -> None:
    """Otherwise a correction of the time would lock a sender out."""
    clock = Clock()
    rates = Rates(1.0, 2, clock)
    rates.take("p")
    clock.now -= 1_000
    again = rates.take("p")

    assert again is not None
    assert (again.wait, again.remaining) == (0, 0)


def test_without_a_rate_nothing_is_limited() -> None:
    """A setting of 0 says so."""
    assert Rates(0.0, 1, Clock()).take("p") is None


def test_the_quota_is_told_as_structured_fields() -> None:
    """draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4: a policy's name, then its parameters."""
    assert Allowance(100, 10, 7, 3, 0).headers == {
        "RateLimit-Policy": '"requests";q=100;w=10',
        "RateLimit": '"requests";r=7;t=3',
    }


def test_failures_lock_an_address_for_growing_bounded_times_that_end_by_themselves() -> None:
    """Who guesses is slowed down; who mistyped is let in again without a call to anybody."""
    clock = Clock()
    lockouts, seen = Lockouts(clock), []
    for _ in range(8):
        lock(lockouts)
        seen.append(lockouts.failed("192.0.2.1"))
        clock.now += seen[-1]

    assert seen[:3] == [FIRST_LOCK, 2 * FIRST_LOCK, 4 * FIRST_LOCK]
    assert seen[-3:] == [LONGEST_LOCK] * 3


def test_failures_while_it_is_locked_do_not_make_a_lock_longer() -> None:
    """A script that retries would otherwise never come out."""
    clock = Clock()
    lockouts = Lockouts(clock)
    lock(lockouts)
    waits = []
    for _ in range(3):
        waits.append(lockouts.failed("192.0.2.1"))
        clock.now += 10.0

    assert waits == [30, 20, 10]
    assert lockouts.failed("192.0.2.1") == 0


def test_failures_that_lie_apart_lock_nobody() -> None:
    """One typing error an hour is a person."""
    clock = Clock()
    lockouts = Lockouts(clock)
    for _ in range(3 * FAILURES):
        assert lockouts.failed("192.0.2.1") == 0
        clock.now += WINDOW / 2


def test_an_address_that_was_quiet_starts_afresh() -> None:
    """Addresses change hands."""
    clock = Clock()
    lockouts = Lockouts(clock)
    for _ in range(3):
        lock(lockouts)
        clock.now += LONGEST_LOCK
    clock.now += FORGIVEN_AFTER
    lock(lockouts)

    assert lockouts.failed("192.0.2.1") == FIRST_LOCK


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
def test_an_address_is_what_one_customer_has(first: str, second: str, are_one: bool) -> None:
    """An IPv6 customer has 2⁶⁴ addresses to guess from."""
    lockouts = Lockouts(Clock())
    lock(lockouts, first)

    assert (lockouts.failed(second) > 0) == are_one


def test_what_is_remembered_is_bounded() -> None:
    """Whoever has many addresses must not fill the memory, and the one that was heard of last stays locked."""
    clock = Clock()
    rates, lockouts = Rates(1.0, 1, clock), Lockouts(clock)
    lock(lockouts, "last")
    for number in range(2 * MOST):
        rates.take(str(number))
        lockouts.failed(str(number))
        if number % 1_000 == 0:
            lockouts.failed("last")

    assert len(rates._buckets) == len(lockouts._guessers) == MOST
    assert lockouts.failed("last") > 0
