"""The environment as an operator gets it wrong."""

import pytest

from serving import programs
from serving.errors import ConfigurationError
from serving.settings import Settings


@pytest.mark.parametrize(("name", "value"), [("HTTP_PORT", "abc"), ("MLFLOW_PORT", "99999"), ("PRICE", "a lot")])
def test_a_value_that_cannot_be_used_names_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback of the settings library tells an operator nothing."""
    monkeypatch.setenv(f"CLARION_{name}", value)
    with pytest.raises(ConfigurationError, match=f"CLARION_{name} cannot be used") as refusal:
        Settings.read()

    assert "\n" not in str(refusal.value)
    assert value not in str(refusal.value)


def test_what_is_stated_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo states its ports, whatever the shell of its user says."""
    monkeypatch.setenv("CLARION_HTTP_PORT", "3001")

    assert Settings.read().http_port == 3001
    assert Settings.read(http_port=3002).http_port == 3002


@pytest.mark.parametrize(
    ("url", "port"), [("http://127.0.0.1:4242", 4242), ("http://127.0.0.1:4242/", 4242), ("http://localhost", 80)]
)
def test_the_provider_listens_where_its_url_says(url: str, port: int) -> None:
    """A slash at the end is how people write URLs."""
    assert set(programs.sandbox(Settings(provider_url=url)).ports) == {port}
