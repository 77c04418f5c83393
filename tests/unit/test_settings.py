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


@pytest.mark.parametrize(
    "stated",
    [{"payment_wait": 2 * 86_400.0}, {"hold_expiry": 6 * 86_400.0}, {"provider": "stripe"}],
)
def test_a_hold_outlives_the_mail_and_no_card_is_held_too_long(stated: dict[str, object]) -> None:
    """A hold that ends while its mail is still tried is goods shipped and nothing paid."""
    with pytest.raises(ConfigurationError, match="HOLD_EXPIRY") as refusal:
        Settings.read(**stated)

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"oidc_issuer": "https://login.example"}, "OIDC_AUDIENCE"),
        ({"oidc_issuer": "http://login.example", "oidc_audience": "clarion"}, "CLARION_OIDC_ISSUER"),
        ({"oidc_issuer": "http://127.0.0.1.login.example/", "oidc_audience": "clarion"}, "CLARION_OIDC_ISSUER"),
        ({"oidc_issuer": "login.example", "oidc_audience": "clarion"}, "CLARION_OIDC_ISSUER"),
        ({"oidc_jwks": "http://login.example/keys"}, "CLARION_OIDC_JWKS"),
    ],
)
def test_an_issuer_without_an_audience_or_anything_on_an_open_line_is_refused(
    stated: dict[str, object], said: str
) -> None:
    """Tokens for another service would pass, or keys that somebody on the way put there."""
    with pytest.raises(ConfigurationError, match=said):
        Settings.read(**stated)


@pytest.mark.parametrize(("stated", "said"), [({"rate": -1.0}, "CLARION_RATE"), ({"burst": 0}, "CLARION_BURST")])
def test_a_quota_that_lets_nobody_in_is_refused(stated: dict[str, object], said: str) -> None:
    """It would look like an outage."""
    with pytest.raises(ConfigurationError, match=said):
        Settings.read(**stated)


@pytest.mark.parametrize("issuer", ["https://login.example/realms/a", "http://localhost:8080", "http://[::1]:1/x"])
def test_an_issuer_is_an_https_url_or_on_this_machine(issuer: str) -> None:
    """Real ones have paths and ports; a developer's has no certificate."""
    assert Settings.read(oidc_issuer=issuer, oidc_audience="clarion").oidc_issuer == issuer


def test_our_programs_get_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets and lists too: what a child process reads is what its parent was told."""
    days = 86_400.0
    expiries = {"payment_wait": days, "delivery_expiry": 2 * days, "hold_expiry": 4 * days}
    settings = Settings.read(provider="stripe", stripe_key="sk_test", top_ups=(100, 200), **expiries)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    assert Settings.read() == settings
    assert "sk_test" not in str(settings)


def test_a_database_password_is_in_no_programs_arguments() -> None:
    """`ps` shows them to everybody on the machine."""
    program = programs.broker(Settings(database="postgresql://clarion:secret@db.example/clarion"))

    assert not [word for word in program.command if "secret" in word]
    assert "secret" in program.environment["CLARION_DATABASE"]
