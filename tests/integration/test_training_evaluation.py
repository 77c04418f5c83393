"""The evaluation command on tables of one's own, with the committed starter."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from data.interactions import interactions
from data.readers import read
from data.schema import Message
from data.table import write_interactions, write_messages
from training.evaluation import main
from training.registry import STARTER

SAMPLE = Path(__file__).parent.parent.parent / "data" / "sample" / "mailbox.mbox"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """The sample mailbox, and the same again a month later, as tables."""
    mails = [mail for mail in read(SAMPLE, lambda bad: None) if mail.date > 0]  # noqa: ARG005
    again = [_later(mail, 30 * 86_400.0) for mail in mails]
    ordered = sorted((*mails, *again), key=lambda mail: mail.date)
    write_messages(ordered, tmp_path / "m.parquet")
    write_interactions(interactions(ordered, posts=2), tmp_path / "i.parquet")
    return tmp_path


def _later(mail: Message, seconds: float) -> Message:
    parent = f"later.{mail.in_reply_to}" if mail.in_reply_to else None
    return replace(mail, message_id=f"later.{mail.message_id}", in_reply_to=parent, date=mail.date + seconds)


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> Path:
    report = folder / "report.json"
    files = ["--messages", str(folder / "m.parquet"), "--interactions", str(folder / "i.parquet")]
    monkeypatch.setattr(
        sys, "argv", ["training.evaluation", "--model", str(STARTER), *files, "--report", str(report), *more]
    )
    main()
    return report


def test_the_report_judges_model_and_peers_on_the_same_rows(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison on different rows is none."""
    report = json.loads(run(tables, monkeypatch).read_text())

    assert report["n"] == report["peers"]["rule"]["n"] > 10
    assert 0 < report["positives"] < report["n"]
    assert report["auroc_ci"][0] <= report["auroc"] <= report["auroc_ci"][1]
    assert "proxy" in report["labels"]


def test_a_limit_draws_the_same_rows_for_the_same_seed(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure that cannot be made again does not count."""
    first, second = (
        json.loads(run(tables, monkeypatch, "--limit", "12", "--seed", "3", "--no-peers").read_text()) for _ in range(2)
    )

    assert first["n"] == 12
    assert {**first, "load": None} == {**second, "load": None}
    assert "--seed 3" in first["command"]


def test_a_split_that_selects_nothing_is_one_line(
    tables: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zero rows would print figures of nothing."""
    with pytest.raises(SystemExit) as refused:
        run(tables, monkeypatch, "--split", "train")

    assert refused.value.code == 2
    assert capsys.readouterr().err == (
        "split train: selects no pair; leave --split out, or name one that these tables reach into\n"
    )
