"""The evaluation command on tables of one's own, with the committed starter."""

import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data.interactions import interactions
from data.readers import read
from data.schema import Interaction, Message
from data.table import read_interactions, write_interactions, write_messages
from training.artefact import STARTER
from training.evaluation import main

SAMPLE = Path(__file__).parent.parent.parent / "data" / "sample" / "mailbox.mbox"
YEAR = 365 * 86_400.0
FIGURES = {
    "n",
    "positives",
    "auroc",
    "auroc_ci",
    "average_precision",
    "ece",
    "urgent_lost_at_bound",
    "nonurgent_discarded_at_bound",
    "slices",
    "per_recipient",
}

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def mailbox() -> list[Message]:
    """The sample mailbox as of 2021, 2023 and 2025, so that the benchmark's cuts lie in it; 2025 on a list apart."""
    mails = [mail for mail in read(SAMPLE, lambda bad: None) if mail.date > 0]  # noqa: ARG005
    moved = [*_copies(mails, 5, "old"), *_copies(mails, 3, "old"), *_copies(mails, 1, "young")]
    return sorted(moved, key=lambda mail: mail.date)


def _copies(mails: list[Message], years: int, list_name: str) -> list[Message]:
    """The mails some years earlier; on the young list from and to people of another company."""

    def name(text: str) -> str:
        return text.replace("@", f"@{list_name}.") if list_name == "young" else text

    return [
        replace(
            mail,
            list=list_name,
            message_id=f"{years}.{mail.message_id}",
            in_reply_to=f"{years}.{mail.in_reply_to}" if mail.in_reply_to else None,
            date=mail.date - years * YEAR,
            sender=name(mail.sender),
            sender_id=f"{list_name} {mail.sender_id}",
            to=tuple(map(name, mail.to)),
            cc=tuple(map(name, mail.cc)),
        )
        for mail in mails
    ]


@pytest.fixture
def tables(tmp_path: Path, mailbox: list[Message]) -> Path:
    """That mailbox as tables."""
    write_messages(mailbox, tmp_path / "m.parquet")
    write_interactions(interactions(mailbox, posts=2), tmp_path / "i.parquet")
    return tmp_path


@pytest.fixture
def run(tables: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, in this process: its report."""

    def command(*more: str, model: str = str(STARTER)) -> dict[str, Any]:
        report = tables / "report.json"
        files = ["--messages", str(tables / "m.parquet"), "--interactions", str(tables / "i.parquet")]
        arguments = ["training.evaluation", "--model", model, *files, "--report", str(report), *more]
        monkeypatch.setattr(sys, "argv", arguments)
        main()
        said: dict[str, Any] = json.loads(report.read_text())
        return said

    return command


def change(tables: Path, changed: Callable[[Interaction], Interaction]) -> None:
    """Rewrites the interactions."""
    write_interactions([changed(row) for row in read_interactions(tables / "i.parquet")], tables / "i.parquet")


def test_the_report_judges_model_and_peers_on_the_same_rows(run: Run) -> None:
    """A comparison on different rows is none."""
    report = run("--split", "test")

    assert report.keys() >= FIGURES
    assert report["auroc_ci"][0] <= report["auroc"] <= report["auroc_ci"][1]
    assert sum(row["n"] for row in report["per_recipient"]) == report["n"] > 10
    assert report["slices"].keys() >= {"machine_sent", "patch", "new_pair", "new_recipient"}
    assert "proxy" in report["labels"]
    names = {"rule", "words", "priority_inbox", "boosted_trees", "boosted_trees_with_form"}
    assert report["peers"].keys() == names == report["paired"].keys()
    for name, peer in report["peers"].items():
        difference = report["paired"][name]["auroc"]
        assert peer.keys() >= FIGURES
        assert (peer["n"], peer["positives"]) == (report["n"], report["positives"])
        assert difference["difference"] == pytest.approx(report["auroc"] - peer["auroc"], abs=1e-4)
        assert difference["interval"][0] <= difference["interval"][1]


def test_no_address_stands_in_a_report(run: Run, mailbox: list[Message]) -> None:
    """Reports are committed and passed on; the people in them never agreed to that."""
    report = json.dumps(run("--no-peers"))

    assert not [mail.sender for mail in mailbox if mail.sender in report]


def test_splits_are_cut_by_time_and_without_one_every_row_counts(run: Run) -> None:
    """The cut is the benchmark's own, whatever the tables are."""
    parts = [run("--no-peers", "--split", split)["n"] for split in ("train", "validation", "test")]

    assert min(parts) > 0
    assert run("--no-peers")["n"] == sum(parts)


def test_a_limit_draws_the_same_rows_for_the_same_seed(run: Run) -> None:
    """A figure that cannot be made again does not count."""
    first, second = (run("--limit", "30", "--seed", "3", "--no-peers") for _ in range(2))

    assert first["n"] == 30
    assert first["peers"] == {}
    assert {**first, "load": None} == {**second, "load": None}
    assert "--seed 3" in first["command"]
    assert run("--limit", "30", "--seed", "4", "--no-peers")["auroc"] != first["auroc"]


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The model's scores of each run of the command, in order of time."""
    from training import figures as module

    seen: list[list[float]] = []
    figures = module.figures

    def watched(given: NDArray[np.float64], *rest: Any) -> dict[str, Any]:
        seen.append(given.tolist())
        return figures(given, *rest)

    monkeypatch.setattr("training.evaluation.figures", watched)
    return seen


def test_outcomes_change_no_score(tables: Path, run: Run, scores: list[list[float]]) -> None:
    """Somebody who shuffles the answers must find that neither text, history nor score knew them."""
    names = ("replied", "replied_24h", "reply_latency_h", "reply_message_id")
    given = list(read_interactions(tables / "i.parquet"))
    before = run("--no-peers")
    shuffled = {name: random.Random(number).sample(given, len(given)) for number, name in enumerate(names)}  # noqa: S311
    rows = [replace(row, **{name: getattr(shuffled[name][at], name) for name in names}) for at, row in enumerate(given)]
    write_interactions(rows, tables / "i.parquet")
    after = run("--no-peers")

    assert before["auroc"] != after["auroc"]
    assert scores[0] == scores[1]


def test_history_is_that_of_every_mail_whatever_is_judged(run: Run, scores: list[list[float]]) -> None:
    """A split that also cut the history would judge everybody as a stranger."""
    run("--no-peers")
    late = run("--no-peers", "--split", "test")["n"]

    assert scores[0][-late:] == scores[1]


def test_a_held_out_list_is_judged_on_strangers_by_peers_of_the_other_lists(run: Run) -> None:
    """What is claimed for lists never seen must be measured on one."""
    whole, apart = run("--split", "test"), run("--held-out-list", "young")

    assert apart["held_out_list"] == "young"
    assert apart["n"] == whole["n"]
    assert apart["slices"]["new_recipient"]["n"] >= whole["slices"]["new_recipient"]["n"]
    assert apart["peers"]["boosted_trees"]["auroc"] > 0


def test_peers_can_learn_from_other_tables(tables: Path, run: Run, mailbox: list[Message]) -> None:
    """A mailbox of a week is enough to judge, but not to learn from."""
    write_messages(mailbox, tables / "other-m.parquet")
    (tables / "other-i.parquet").write_bytes((tables / "i.parquet").read_bytes())
    young = [mail for mail in mailbox if mail.list == "young"]
    write_messages(young, tables / "m.parquet")
    write_interactions(interactions(young, posts=2), tables / "i.parquet")

    alone = run()
    taught = run("--peers-from", str(tables / "other-m.parquet"), str(tables / "other-i.parquet"))

    assert alone["n"] == taught["n"]
    assert alone["auroc"] == taught["auroc"]
    assert alone["peers"]["rule"]["auroc"] == taught["peers"]["rule"]["auroc"]
    assert alone["peers"]["boosted_trees"]["auroc"] != taught["peers"]["boosted_trees"]["auroc"]


def test_champion_is_the_starter_in_an_empty_registry_and_the_run_is_kept(tables: Path, run: Run) -> None:
    """Everyone who wants to check us begins with this command and an empty registry."""
    import mlflow

    tracking = f"sqlite:///{tables / 'mlflow.db'}"
    report = run("--no-peers", "--tracking", tracking, "--pictures", str(tables / "pictures"), model="champion")

    (kept,) = mlflow.search_runs(search_all_experiments=True, output_format="list", filter_string="metrics.n > 0")
    files = {file.path for file in mlflow.MlflowClient().list_artifacts(kept.info.run_id, "pictures")}
    assert report["model"] == json.loads((STARTER / "artefact.json").read_text())["version"]
    assert kept.data.metrics["auroc"] == pytest.approx(report["auroc"])
    assert kept.data.params["dataset_digest"] == report["dataset_digest"]
    assert files == {f"pictures/{name}.png" for name in ("roc", "precision_recall", "reliability", "scores")}
    assert all(path.stat().st_size > 5_000 for path in (tables / "pictures").iterdir())


def drop_column(tables: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(tables / "i.parquet").drop_columns(["replied_24h"]), tables / "i.parquet")


def one_recipient(tables: Path) -> None:
    rows = list(read_interactions(tables / "i.parquet"))
    who = max(
        {row.recipient for row in rows}, key=lambda who: len({row.replied_24h for row in rows if row.recipient == who})
    )
    write_interactions([row for row in rows if row.recipient == who], tables / "i.parquet")


SPOILERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "corrupt": (lambda tables: (tables / "m.parquet").write_bytes(b"PAR1 none PAR1"), "not a readable parquet file"),
    "absent": (lambda tables: (tables / "i.parquet").unlink(), "there is no such file"),
    "column": (drop_column, "column replied_24h is missing"),
    "one recipient": (one_recipient, "pairs have one recipient"),
    "silence": (lambda tables: change(tables, lambda row: replace(row, replied_24h=False)), "none was answered"),
    "other mails": (
        lambda tables: change(tables, lambda row: replace(row, message_id=f"x{row.message_id}")),
        "belong together",
    ),
    "nothing": (lambda tables: write_interactions([], tables / "i.parquet"), "no pair of mail and recipient"),
}


@pytest.mark.parametrize("name", SPOILERS)
def test_what_cannot_be_measured_is_one_line_and_status_two(
    name: str, tables: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback says where the code was, not what is wrong with the file."""
    spoil, said = SPOILERS[name]
    spoil(tables)

    with pytest.raises(SystemExit) as refused:
        run()

    (line,) = [line for line in capsys.readouterr().err.splitlines() if "|" not in line]
    assert refused.value.code == 2
    assert said in line


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--model", "nowhere"), "artefact.json, graph.xml"),
        (("--model", "models:/clarion@nobody"), "import-starter"),
        (("--held-out-list", "none"), "its lists are old, young"),
    ],
)
def test_a_wrong_name_is_one_line_and_status_two(
    more: tuple[str, str], said: str, tables: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line must say what would have been right."""
    with pytest.raises(SystemExit) as refused:
        run("--tracking", f"sqlite:///{tables / 'mlflow.db'}", *more)

    assert refused.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_split_that_selects_nothing_is_one_line(
    tables: Path, run: Run, mailbox: list[Message], capsys: pytest.CaptureFixture[str]
) -> None:
    """Zero rows would print figures of nothing."""
    young = [mail for mail in mailbox if mail.list == "young"]
    write_messages(young, tables / "m.parquet")
    write_interactions(interactions(young, posts=2), tables / "i.parquet")

    with pytest.raises(SystemExit) as refused:
        run("--split", "train")

    assert refused.value.code == 2
    assert capsys.readouterr().err.startswith("split train: selects no pair; leave --split out")
