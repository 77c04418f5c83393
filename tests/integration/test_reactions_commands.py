"""`clarion reactions watch` before it has spoken to any mail server: what cannot work is said in a line."""

from pathlib import Path

import pytest

from tests.conftest import BrokerProcess
from tests.integration.terminal import complaint, said, settle

ADA = "ada@home.example"
SERVER = ("--host", "mail.home.example", "--user", "ada")


@pytest.fixture
def home(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One where ada is registered, with the password in the environment."""
    monkeypatch.setenv("CLARION_IMAP_PASSWORD", "secret")
    found = settle(broker, monkeypatch)
    said("recipient", "add", ADA, "--open")
    return found


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["ada"], "no address"),
        (["bob@home.example"], "nobody is registered"),
        ([ADA, "--plain"], "--plain would show the password"),
        ([ADA, "--plain", "--host", "192.0.2.1"], "--plain would show the password"),
        ([ADA, "--junk", "Spam", "--no-junk"], "not both"),
        ([ADA, "--folder", "Entwürfe"], "modified UTF-7"),
        ([ADA, "--folder", "INBOX\r\nx DELETE INBOX"], "modified UTF-7"),
        ([ADA, "--junk", ""], "modified UTF-7"),
        ([ADA, "--ca-file", "nowhere.pem"], "--ca-file"),
        ([ADA, "--password-file", "nowhere"], "--password-file"),
    ],
)
def test_what_cannot_be_is_said(home: Path, words: list[str], why: str) -> None:
    """Before a password leaves this machine."""
    del home

    assert why in complaint("reactions", "watch", *SERVER, *words)


def test_a_password_must_come_from_somewhere(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty file is none; and there is no option for it, since everybody can read a program's arguments."""
    del home
    monkeypatch.delenv("CLARION_IMAP_PASSWORD")
    empty = tmp_path / "empty"
    empty.write_text("\n")

    assert "no password" in complaint("reactions", "watch", *SERVER, ADA)
    assert "no password" in complaint("reactions", "watch", *SERVER, ADA, "--password-file", str(empty))


def test_a_server_that_is_not_there_is_named(home: Path) -> None:
    """With --once there is no second try."""
    del home
    words = ("reactions", "watch", ADA, "--once", "--user", "ada", "--plain")

    assert "127.0.0.1 cannot be reached" in complaint(*words, "--host", "127.0.0.1", "--port", "1")
