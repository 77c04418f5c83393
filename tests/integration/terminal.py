"""An operator at a terminal: a home whose broker runs, and what `clarion` says there."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serving.cli import app
from serving.errors import ClarionError
from serving.sealing import create_keys
from tests.conftest import BrokerProcess


def settle(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with keys whose broker is that one; `clarion` uses it until the test's end."""
    home = broker.socket.parent
    (home / "run").mkdir()
    (home / "run" / "broker.sock").symlink_to(broker.socket)
    monkeypatch.setenv("CLARION_HOME", str(home))
    create_keys(home / "keys")
    return home


def run(*words: str) -> Result:
    """The command, which succeeds."""
    ended = CliRunner().invoke(app, list(words))
    assert ended.exit_code == 0, (ended.output, ended.exception)
    return ended


def said(*words: str) -> str:
    """What it says."""
    return run(*words).stdout


def complaint(*words: str) -> str:
    """Why it cannot do what was asked."""
    ended = CliRunner().invoke(app, list(words))
    assert isinstance(ended.exception, ClarionError), (ended.output, ended.exception)
    return str(ended.exception)
