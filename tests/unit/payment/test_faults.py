"""The sandbox provider's faults: at the stated rate, and the same again from the same seed."""

import pytest

from serving.payment.faults import Fault, Faults, parse_fault

KEYS = [f"{number}:capture" for number in range(4000)]


def test_the_same_seed_gives_every_key_the_same_fault_in_any_order() -> None:
    """A torture run is replayed from one integer although processes race."""
    rates = {Fault.TIMEOUT: 0.1, Fault.ERROR: 0.1}
    forwards, backwards = Faults(rates, seed=7), Faults(rates, seed=7)

    drawn = {key: forwards.draw(key) for key in KEYS}

    assert drawn == {key: backwards.draw(key) for key in reversed(KEYS)}


def test_faults_come_at_the_stated_rate() -> None:
    """`10 % of the calls time out` must be what happens."""
    faults = Faults({Fault.TIMEOUT: 0.1, Fault.HTML: 0.05}, seed=1)

    drawn = [faults.draw(key) for key in KEYS]

    assert 0.08 < drawn.count(Fault.TIMEOUT) / len(KEYS) < 0.12
    assert 0.035 < drawn.count(Fault.HTML) / len(KEYS) < 0.065


def test_a_key_that_failed_can_succeed_later() -> None:
    """A fault that stuck to a key would make a retry pointless and the run endless."""
    faults = Faults({Fault.ERROR: 0.5}, seed=3)

    drawn = {faults.draw("17:capture") for _ in range(50)}

    assert drawn == {None, Fault.ERROR}


@pytest.mark.parametrize("rates", [{Fault.ERROR: 1.5}, {Fault.ERROR: -0.1}, {Fault.ERROR: 0.6, Fault.HTML: 0.6}])
def test_rates_that_are_no_shares_are_refused(rates: dict[Fault, float]) -> None:
    """A mistyped rate must not silently test something else."""
    with pytest.raises(ValueError, match="add up"):
        Faults(rates, seed=0)


@pytest.mark.parametrize("text", ["slow=0.1", "timeout", "timeout=often", ""])
def test_a_fault_that_cannot_be_read_says_what_to_write(text: str) -> None:
    """The command line names the kinds that exist."""
    with pytest.raises(ValueError, match="KIND=RATE"):
        parse_fault(text)
