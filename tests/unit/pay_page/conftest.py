"""A browser on the pay page, before a desk that a test can change."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.unit.pay_page.desks import FakeDesk, browsing


@pytest.fixture
def desk() -> FakeDesk:
    """What the page is told, and what it asked for."""
    return FakeDesk()


@pytest.fixture
def http(desk: FakeDesk) -> Iterator[TestClient]:
    """The browser."""
    with browsing(desk) as client:
        yield client
