"""`clarion principal`, against a real broker: what is printed, and what it does to who may call."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from serving.authentication.api_keys import hash_key, is_key
from tests.conftest import BrokerProcess
from tests.integration import terminal
from tests.integration.terminal import settle

SUBJECT = "https://login.example 4711"


@pytest.fixture(autouse=True)
def home(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose broker is that one."""
    return settle(broker, monkeypatch)


def run(*words: str) -> Result:
    return terminal.run("principal", *words)


def complaint(*words: str) -> str:
    return terminal.complaint("principal", *words)


def listed() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run("list", "--json").stdout)
    return rows


def added(*words: str) -> tuple[str, str]:
    """What was printed, and the id."""
    ended = run("add", "Ops", "--domain", "ops.example", *words)
    return ended.stdout.strip(), ended.stderr.split()[-1]


def test_a_key_is_shown_once_and_its_hash_listed() -> None:
    """Who looks over an operator's shoulder later sees nothing that opens."""
    key, id_ = added()
    (row,) = listed()

    assert is_key(key)
    assert (row["id"], row["kind"], row["credential"], row["domains"]) == (id_, "key", hash_key(key), ["ops.example"])
    assert key not in run("list").stdout
    assert (row["used_at"], row["expires_at"], row["revoked_at"]) == (None, None, None)


@pytest.mark.parametrize(
    ("words", "overlap", "said"),
    [([], 86_400.0, "good until"), (["--overlap", "0.5"], 1_800.0, "good until"), (["--now"], 0.0, "has ended")],
)
def test_a_rotated_key_overlaps_as_long_as_was_said(words: list[str], overlap: float, said: str) -> None:
    """A day where nobody says otherwise, and nothing where the key leaked."""
    old, id_ = added()
    ended = run("rotate", id_, *words)
    first, second = listed()

    assert is_key(ended.stdout.strip())
    assert said in ended.stderr
    assert [first["credential"], second["credential"]] == [hash_key(old), hash_key(ended.stdout.strip())]
    assert first["expires_at"] == pytest.approx(second["created_at"] + overlap)
    assert second["expires_at"] is None


def test_a_sender_with_a_subject_gets_no_key() -> None:
    """A key that nobody needs is one more that can leak."""
    printed, id_ = added("--subject", f"  {SUBJECT} ")
    (row,) = listed()

    assert printed == ""
    assert (row["id"], row["kind"], row["credential"], row["domains"]) == (id_, "subject", SUBJECT, ["ops.example"])


def test_people_get_a_line_for_each_sender_and_each_key() -> None:
    """What an operator looks at after a leak: what there is, since when, whether it is used, and until when."""
    nobody = run("list").stdout
    key, id_ = added()
    run("rotate", id_)
    run("revoke", id_)
    added("--subject", SUBJECT)
    lines = run("list").stdout.splitlines()
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z"

    assert "nobody is registered" in nobody
    assert re.fullmatch(rf"{id_}  Ops \(ops\.example\), revoked {time}", lines[0])
    assert re.fullmatch(rf"    key {hash_key(key)[:12]}: created {time}, never used, ends {time}", lines[1])
    assert re.fullmatch(rf"    subject {SUBJECT}: created {time}, never used", lines[4])


def test_revoking_is_for_good() -> None:
    """A key in wrong hands must not come back by a rotation."""
    _, id_ = added()
    run("revoke", id_)

    assert listed()[0]["revoked_at"] is not None
    assert "not rotated" in complaint("rotate", id_)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rotate", "nobody"], "not rotated: no sender of this id"),
        (["revoke", "nobody"], "no sender has this id"),
        (["add", "Ops", "--domain", "ops.example", "--subject", "4711"], "--subject takes an issuer and a sub"),
        (["add", "Ops", "--domain", "ops.example", "--subject", "https://other.example 1"], "another issuer than"),
        (["add", "Ops", "--domain", "no domain", "--subject", SUBJECT], "a From domain is no domain name"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subject that no token can ever match would be found out at 2 a.m."""
    monkeypatch.setenv("CLARION_OIDC_ISSUER", "https://login.example")
    monkeypatch.setenv("CLARION_OIDC_AUDIENCE", "clarion")

    assert said in complaint(*words)
    assert listed() == []


def test_a_subject_that_is_taken_registers_nobody() -> None:
    """Two senders of one subject would read each other's mail."""
    added("--subject", SUBJECT)

    assert "known by this subject already" in complaint("add", "B", "--domain", "b.example", "--subject", SUBJECT)
    assert len(listed()) == 1
