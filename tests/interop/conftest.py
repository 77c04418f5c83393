"""With CI=true nothing here may be skipped: a foreign program that is missing is a failure, never a silence."""

import os
from collections.abc import Generator, Iterator

import pytest
from playwright.sync_api import Browser

from tests.interop import axe
from tests.interop.browsers import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def judge(pytestconfig: pytest.Config) -> str:
    """axe-core's script."""
    assert pytestconfig.cache is not None
    return axe.script(pytestconfig.cache.mkdir("axe-core"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure that names its reason."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI=true forbids: {report.longreprtext}"
    return report
