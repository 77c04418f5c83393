"""The auxiliary tasks: what is learned of a report's severity and of requests, and from which rows."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.table import BadTable
from training.severity import TASKS, read_asides


def write(folder: Path) -> Path:
    """The three tables with a row of each sort."""
    bugs = {"summary": ["down", "typo", "usual", "grave"], "severity": ["Blocker", "trivial", "normal", "major"]}
    issues = {"Summary": ["lost", "later", "default", ""], "Priority": ["Critical", "Minor", "Major", "Blocker"]}
    requests = {"text": ["send it", "hello"], "label": ["Yes", "No"]}
    pq.write_table(pa.table(bugs), folder / "bugs_severity_bookinus.parquet")
    pq.write_table(pa.table(issues), folder / "bugs_priority_gitbugs.parquet")
    pq.write_table(pa.table(requests), folder / "parakweet_intent.parquet")
    return folder


def test_a_report_is_severe_minor_or_left_out(tmp_path: Path) -> None:
    """Bugzilla's default teaches nothing; Jira's is as severe as its name, which the twins turned out to need."""
    asides = read_asides(write(tmp_path))
    told = dict(zip(asides.texts, zip(asides.tasks, asides.answers, strict=True), strict=True))

    severity, request = TASKS.index("severity"), TASKS.index("request")
    assert {text for text, answer in told.items() if answer == (severity, 1)} == {"down", "grave", "lost", "default"}
    assert {text: told[text] for text in ("typo", "later")} == dict.fromkeys(("typo", "later"), (severity, 0))
    assert (told["send it"], told["hello"]) == ((request, 1), (request, 0))
    assert not {"usual", ""} & told.keys()


def test_a_table_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    """Whoever has no such tables can train without them, and must be told how."""
    with pytest.raises(BadTable, match=r"bookinus.*asides = \"\"") as refused:
        read_asides(tmp_path)

    assert "\n" not in str(refused.value)
