"""A notebook trains small models on its way, and on a busy machine that takes longer than a test may."""

import pytest

SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives notebooks their time; the tests' own limit stays."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.timeout(SECONDS))
