"""Who becomes champion and who does not, on a mailbox of its own and artefacts of a few kilobytes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from tests.integration.contenders import (
    EXCEPTION,
    HONEST,
    MAILS,
    contender,
    outcome,
    spoil,
    stored,
    write_tables,
)
from training.promotion import STRONGEST, main
from training.registry import main as registry
from training.registry import register
from training.tracking import connect
from training.versions import ALIAS, CHALLENGER, PREVIOUS, aliased

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mailbox."""
    return write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture
def champion(tracking: str, tmp_path: Path) -> str:
    """Version 1, which waits for a word that says nothing."""
    return register(tracking, contender(tmp_path / "old", "weekly"), alias=ALIAS)


@pytest.fixture
def judge(
    tables: Path, tracking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The command on those tables: its exit status and what it says."""

    def command(*words: str) -> tuple[int, str]:
        files = ["--messages", str(tables / "m.parquet"), "--interactions", str(tables / "i.parquet")]
        kept = ["--tracking", tracking, "--report", str(tmp_path / "report.json")]
        monkeypatch.setattr(sys, "argv", ["training.promotion", *files, *kept, *words])
        return outcome(main, capsys)

    return command


def test_a_challenger_that_is_better_becomes_champion(tracking: str, champion: str, judge: Run, tmp_path: Path) -> None:
    """This is the one way to the front; who was there is remembered."""
    second = register(tracking, contender(tmp_path / "new"))

    status, said = judge()

    report = json.loads((tmp_path / "report.json").read_text())
    assert (status, report["passed"]) == (0, True)
    assert (aliased(tracking, ALIAS), aliased(tracking, PREVIOUS)) == (second, champion)
    assert report["paired"]["average_precision"]["interval"][0] > 0.2
    assert (report["split"], report["challenger"]["figures"]["n"]) == ("validation", MAILS)
    assert report["challenger"]["figures"]["urgent_recall"] == pytest.approx(1 - 1 / EXCEPTION)
    assert report["challenger"]["figures"]["ece"] < 0.001
    assert said.count(": passed") == 3
    assert said.splitlines()[-1] == f"version {second} is champion, version {champion} is previous"


def test_the_judgement_is_written_down(tracking: str, champion: str, judge: Run, tmp_path: Path) -> None:
    """Somebody will ask why this model is in front, long after the terminal is closed."""
    register(tracking, contender(tmp_path / "new"))
    judge()

    connect(tracking)
    (kept,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    report = json.loads((tmp_path / "report.json").read_text())
    assert kept.info.run_name == "promotion-new"
    assert (kept.data.params["champion"], kept.data.params["champion_version"]) == ("old", champion)
    assert kept.data.params["passed"] == "True"
    assert kept.data.metrics["challenger.ece"] == pytest.approx(report["challenger"]["figures"]["ece"])
    assert kept.data.metrics["average_precision_low"] == report["paired"]["average_precision"]["interval"][0]


def test_an_equal_challenger_is_not_promoted(tracking: str, judge: Run, tmp_path: Path) -> None:
    """A champion that changes for nothing would change every score that a recipient has grown used to."""
    first = register(tracking, contender(tmp_path / "old"), alias=ALIAS)
    register(tracking, contender(tmp_path / "new"))

    status, said = judge()

    assert status == 3
    assert said.splitlines()[-1] == "not promoted: average precision"
    assert (aliased(tracking, ALIAS), aliased(tracking, PREVIOUS)) == (first, None)


@pytest.mark.parametrize(
    ("temperature", "urgent", "failed"),
    [
        (3.0, 0.5, "calibration error"),
        (HONEST, 0.99, "urgent recall"),
        (3.0, 0.99, "urgent recall, calibration error"),
    ],
)
def test_a_better_ranking_alone_does_not_promote(
    tracking: str, champion: str, judge: Run, tmp_path: Path, temperature: float, urgent: float, failed: str
) -> None:
    """Probabilities that lie, or urgent mail that is missed, are worse than the order that was gained."""
    register(tracking, contender(tmp_path / "new", temperature=temperature, urgent=urgent))

    status, said = judge()

    assert status == 3
    assert said.splitlines()[-1] == f"not promoted: {failed}"
    assert aliased(tracking, ALIAS) == champion


def test_a_folder_that_wins_becomes_a_version(tracking: str, champion: str, judge: Run, tmp_path: Path) -> None:
    """An artefact from another machine has no version yet."""
    status, _ = judge("--challenger", str(contender(tmp_path / "new")))

    assert status == 0
    assert aliased(tracking, ALIAS) == aliased(tracking, CHALLENGER) == str(int(champion) + 1)


def test_who_beats_somebody_else_does_not_become_champion(
    tracking: str, champion: str, judge: Run, tmp_path: Path
) -> None:
    """A weaker opponent of one's own choice would be a way round the comparison."""
    register(tracking, contender(tmp_path / "new"))

    status, said = judge("--champion", str(contender(tmp_path / "weak", "random")))

    assert status == 2
    assert f"version {champion} is champion and was not judged" in said
    assert aliased(tracking, ALIAS) == champion


def test_a_champion_of_other_features_stands_aside_only_for_the_strongest_peer(
    tracking: str, champion: str, judge: Run, empty: Path, tmp_path: Path
) -> None:
    """When the features change no old champion can be scored; that must not be a way past the comparison."""
    spoil(stored(empty, "old"), features=["is_to"])
    second = register(tracking, contender(tmp_path / "new"))

    refused, said = judge()
    stayed = aliased(tracking, ALIAS)
    status, _ = judge("--unscorable-champion")

    report = json.loads((tmp_path / "report.json").read_text())
    assert (refused, stayed) == (2, champion)
    assert "trained on other features" in said
    assert "--unscorable-champion" in said
    assert (report["champion"]["model"], report["champion"]["version"]) == (STRONGEST, None)
    assert 0.8 <= report["champion"]["figures"]["urgent_recall"] < 0.99
    assert (status, aliased(tracking, ALIAS), aliased(tracking, PREVIOUS)) == (0, second, champion)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no version is challenger"),
        (("--challenger", "nowhere"), "artefact.json, graph.xml"),
        (("--challenger", "models:/clarion/7"), "models:/clarion/7"),
        (("--challenger", "champion", "--messages", "nowhere.parquet"), "nowhere.parquet"),
        (("--challenger", "champion", "--champion", "nowhere", "--unscorable-champion"), "cannot be scored (nowhere:"),
    ],
)
def test_bad_input_is_one_line_and_status_two(champion: str, judge: Run, words: tuple[str, ...], said: str) -> None:
    """A script must tell "not good enough" from "not asked properly"."""
    status, line = judge(*words)

    assert (champion, status) == ("1", 2)
    assert said in line


def test_the_registry_promotes_as_the_module_does(
    champion: str,
    tracking: str,
    tables: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two commands that decide differently would be two doors, one of them unguarded."""
    files = ["--messages", str(tables / "m.parquet"), "--interactions", str(tables / "i.parquet")]
    words = ["--tracking", tracking, "promote", *files, "--challenger", "champion"]
    monkeypatch.setattr(sys, "argv", ["training.registry", *words])

    status, said = outcome(registry, capsys)

    assert (champion, status) == ("1", 3)
    assert said.splitlines()[-1] == "not promoted: average precision, calibration error"
