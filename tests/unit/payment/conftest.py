"""A ledger and a provider that the same power fails."""

import pytest

from tests.unit.payment.exchanges import Ledger, Power, Provider


@pytest.fixture
def power() -> Power:
    """On, until a test says when it goes."""
    return Power()


@pytest.fixture
def ledger(power: Power) -> Ledger:
    """Without an account or an intent."""
    return Ledger(power)


@pytest.fixture
def provider(power: Power) -> Provider:
    """Has committed nothing."""
    return Provider(power)
