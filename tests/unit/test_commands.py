"""What the command line shows a person, and what it says no to."""

import json
from pathlib import Path
from typing import Any

import pytest

from serving import cli
from serving.commands import show, tell

EVENTS: list[dict[str, Any]] = [
    {"seq": 1, "at": 0.0, "stage": None, "kind": "accepted", "next": "authentication", "detail": {}},
    {
        "seq": 2,
        "at": 1.5,
        "stage": "delivery",
        "kind": "sent",
        "next": "settlement",
        "detail": {"receipt": {"code": 250, "text": "2.0.0 Kept", "note": None}},
    },
]


def test_a_history_is_a_line_an_event_with_its_detail_below(capsys: pytest.CaptureFixture[str]) -> None:
    """On 80 columns a table cuts every word that matters."""
    tell(EVENTS, as_json=False)

    assert capsys.readouterr().out.splitlines() == [
        "1970-01-01 00:00:00.000Z                 accepted → authentication",
        "1970-01-01 00:00:01.500Z  delivery       sent → settlement",
        "    receipt: code 250, text 2.0.0 Kept",
    ]


def test_programs_get_json_with_nothing_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A script parses it."""
    tell(EVENTS, as_json=True)
    shown = json.loads(capsys.readouterr().out)

    assert [event["detail"] for event in shown] == [event["detail"] for event in EVENTS]


def test_depths_show_times_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Seconds since 1970 tell nobody how long something has waited."""
    show([{"stage": None, "state": "delivered", "count": 3, "oldest": 60.0}], as_json=False)
    out = capsys.readouterr().out

    assert "1970-01-01 00:01:00.000Z" in out
    assert "None" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recipient", "add", "nobody"], "that is no address"),
        (["recipient", "add", "a@b.example", "--not-urgent", "shout"], "--not-urgent takes"),
        (["queue", "show", "x"], "that is no notification"),
        (["queue", "depths"], "no broker at"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Scripts look at the status, people at the line."""
    monkeypatch.setenv("CLARION_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["clarion", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    error = capsys.readouterr().err

    assert end.value.code == 2
    assert said in error
    assert error.count("\n") == 1
