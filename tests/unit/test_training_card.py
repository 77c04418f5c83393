"""The model card: every number in it comes from the artefact and its run, and it says what it must say."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.history import FEATURES
from tests.integration.tiny import make_artefact
from training.artefact import MACHINES, PEOPLE, STARTER, Certificate, Description, Thresholds, describe, redescribe
from training.baselines.peers import PEERS
from training.card import CARD, CardError, card, checked, made, main, tags, write_card

DESCRIPTION = Description(
    version="one-beef",
    encoder="some-encoder",
    dataset_digest="abcdefabcdef",
    trained_until=1_650_931_200.0,
    max_length=128,
    temperature=1.25,
    offset=-0.375,
    thresholds=Thresholds(0.171, 0.0129, (0.154, 0.187)),
    bound=0.01,
    features=FEATURES,
    mean=(),
    scale=(),
    certificates=(Certificate(PEOPLE, 0.0129, 0.01, 0.95, 3670, 17, 0.0093),),
)
PARAMS = {
    "name": "one",
    "run_id": "cafe",
    "commit": "feed",
    "seed": 0,
    "label": "replied_24h",
    "test_from": "2024-01-30",
}
OWN = {"n": 20537.0, "positives": 3702.0, "auroc": 0.8451, "average_precision": 0.5523, "ece": 0.0141}
MOST_OF_MLFLOW = 5_000  # characters of a description that its database has room for


def figures(**changed: float) -> dict[str, float]:
    """A run's figures: the model's, those of all peers, and some others."""
    of_all = {
        f"validation{peer}.{name}": value for peer in ("", *map(".{}".format, PEERS)) for name, value in OWN.items()
    }
    others = {f"quantisation.{size}_{name}": value for size in ("full", "int8") for name, value in OWN.items()}
    bounds = {f"validation.bound.{slice_}.{name}": 0.01234 for slice_ in (PEOPLE, MACHINES) for name in "abcdefghi"}
    return {**of_all, **others, **bounds, "notices.auroc": 0.912, **changed}


def test_no_number_is_written_into_the_card_by_hand() -> None:
    """A number that stays while the model changes is a lie in the second model's card."""
    other = replace(
        DESCRIPTION,
        trained_until=1e9,
        max_length=64,
        temperature=3.5,
        offset=0.65,
        thresholds=Thresholds(0.44, 0.33, (0.43, 0.46)),
        bound=0.02,
        features=FEATURES[:7],
        certificates=(Certificate(PEOPLE, 0.33, 0.02, 0.9, 88, 5, 0.06),),
    )
    halves = {name: 777.0 if value > 1 else 0.6789 for name, value in figures().items()}
    halves = {name.replace("int8", "int"): value for name, value in halves.items()}
    settings = {
        "name": "two",
        "run_id": "bead",
        "commit": "deaf",
        "seed": 9,
        "label": "replied",
        "test_from": "1999-12-31",
    }
    first, second = card(DESCRIPTION, figures(), PARAMS), card(other, halves, settings)

    texts = (text.replace("SHA-256", "") for text in (first, second))
    found, others = (set(re.findall(r"\d[\d.-]*\d|\d", text)) for text in texts)
    assert len(found) > 20
    assert found & others == set()


def test_the_card_says_what_a_stranger_must_know() -> None:
    """Somebody decides by this page whether mail may be left unread."""
    text = card(DESCRIPTION, figures(), PARAMS)

    titles = re.findall(r"(?m)^## (.+)$", text)
    assert titles == [
        "What it is, and for whom",
        "Intended use",
        "Data",
        "Figures",
        "Thresholds and certificates",
        "What it cannot do",
        "How to check",
        "Where it comes from",
    ]
    assert "**A reply is a proxy for urgency, not urgency.**" in text
    assert "before 2022-04-26" in text
    assert "from 2022-04-26 to before 2024-01-30" in text
    assert "with 95% confidence less than 1.00% of the urgent" in text
    assert "python -m training.evaluation --model" in text
    assert {"`abcdefabcdef`", "`one-beef`", "`cafe`", "`feed`"} <= set(re.findall(r"`\w[\w-]*`", text))


def test_the_model_stands_beside_every_peer() -> None:
    """A figure without its peers says nothing."""
    text = card(DESCRIPTION, figures(**{"validation.rule.auroc": 0.6734}), PARAMS)

    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [row[0].strip("| ") for row in rows] == ["model", "this model", *PEERS]
    assert [row[1] for row in rows[1:]] == ["20537"] * (1 + len(PEERS))
    assert (rows[1][3], rows[2][3]) == ("0.8451", "0.6734")


def test_the_registry_has_room_for_a_full_card() -> None:
    """A database that cuts or refuses the description would refuse the model after hours of training."""
    machines = replace(DESCRIPTION.certificates[0], slice=MACHINES)
    full = replace(DESCRIPTION, certificates=(*DESCRIPTION.certificates, machines))

    assert len(card(full, figures(), PARAMS)) < MOST_OF_MLFLOW


def test_without_a_certificate_nothing_may_be_discarded() -> None:
    """The card must not leave open what serving does."""
    bare = replace(DESCRIPTION, certificates=(), bound=None, thresholds=Thresholds(0.171, None, (0.154, 0.187)))

    assert "certificates: none, so nothing may be discarded" in card(bare, {}, {})
    assert (tags(bare)["bound"], tags(bare)["discard_threshold"]) == ("none", "none")


def test_a_card_without_a_run_says_so() -> None:
    """An old artefact has no figures; made-up ones would be worse."""
    text = card(DESCRIPTION, {}, {})

    assert "The run's figures are not kept with this artefact" in text
    assert "- commit: not kept with this artefact" in text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artefact with its card."""
    made_there = make_artefact(tmp_path / "tiny")
    write_card(made_there, figures(), PARAMS)
    return made_there


def test_the_card_in_the_folder_is_made_again_from_the_folder(folder: Path) -> None:
    """Only so can anybody see that nobody wrote in it by hand."""
    assert (folder / CARD).read_text() == made(folder) == card(describe(folder), figures(), PARAMS) == checked(folder)


def test_a_card_that_was_overtaken_is_noticed_and_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate is often made days after the fit."""
    redescribe(folder, temperature=2.5)
    with pytest.raises(CardError, match="does not say what the artefact says"):
        checked(folder)
    monkeypatch.setattr(sys, "argv", ["training.card", str(folder)])
    main()

    assert "sigmoid(logit / 2.5 " in checked(folder)


def break_figures(folder: Path) -> None:
    (folder / "figures.json").write_text("[1]")


def lose_a_figure(folder: Path) -> None:
    kept: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    del kept["figures"]["validation.ece"]
    (folder / "figures.json").write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (break_figures, "no figures of a run"),
        (lose_a_figure, "no figures of a run"),
        (lambda folder: (folder / "figures.json").unlink(), "there is no such file"),
        (lambda folder: (folder / "artefact.json").write_text("{}"), "not a description"),
    ],
)
def test_what_makes_no_card_is_one_line_and_status_two(
    spoil: Any, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback says where the code was, not what is wrong with the file."""
    spoil(folder)
    monkeypatch.setattr(sys, "argv", ["training.card", str(folder)])

    with pytest.raises(SystemExit) as refused:
        main()

    (line,) = capsys.readouterr().err.splitlines()
    assert refused.value.code == 2
    assert said in line


def test_the_committed_starter_carries_its_own_card() -> None:
    """It is the first model that anybody meets; `make demo` refuses one whose card is about something else."""
    assert (STARTER / CARD).exists()
    assert checked(STARTER) == (STARTER / CARD).read_text(encoding="utf-8")
    assert describe(STARTER).version in checked(STARTER)
