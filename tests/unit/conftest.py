"""Fixtures of the unit tests."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.gateways import Setting


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    setting = Setting()
    async with setting.http:
        yield setting
