"""What the registry says of each version, that it is what the artefact says, and the way back."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from tests.integration.contenders import HONEST, contender, outcome, spoil, stored
from training.artefact import describe, redescribe
from training.card import CARD, tags, write_card
from training.registry import RegistryError, main, register
from training.tracking import connect, log_datasets
from training.versions import ALIAS, NAME, PREVIOUS, aliased, appoint

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def champion(tracking: str, tmp_path: Path) -> str:
    """Version 1."""
    return register(tracking, contender(tmp_path / "old"), alias=ALIAS)


@pytest.fixture
def second(tracking: str, champion: str, tmp_path: Path) -> str:
    """Version 2, which took version 1's place."""
    version = register(tracking, contender(tmp_path / "new"))
    appoint(tracking, version)
    assert aliased(tracking, PREVIOUS) == champion
    return version


@pytest.fixture
def run(tracking: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command: its exit status and what it says."""

    def command(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["training.registry", "--tracking", tracking, *words])
        return outcome(main, capsys)

    return command


def test_back_restores_the_previous_champion(tracking: str, champion: str, second: str, run: Run) -> None:
    """When mail goes wrong at night nobody wants to look up a version number; and the fault may lie elsewhere."""
    status, said = run("back")
    restored = aliased(tracking, ALIAS), aliased(tracking, PREVIOUS)
    run("back")

    assert (status, restored) == (0, (champion, second))
    assert said == f"version {champion} is champion again, version {second} is previous"
    assert (aliased(tracking, ALIAS), aliased(tracking, PREVIOUS)) == (second, champion)


def test_back_refuses_where_nobody_was_before(tracking: str, champion: str, run: Run) -> None:
    """No champion at all would stop all classification."""
    status, said = run("back")

    assert status == 1
    assert "no other version was champion before" in said
    assert aliased(tracking, ALIAS) == champion


def test_back_refuses_a_champion_that_cannot_run(
    tracking: str, champion: str, second: str, run: Run, empty: Path
) -> None:
    """Out of one fault into a worse one: the service would not start."""
    spoil(stored(empty, "old"), features=["is_to"])

    status, said = run("back")

    assert (status, aliased(tracking, ALIAS), aliased(tracking, PREVIOUS)) == (1, second, champion)
    assert "other features" in said


def test_a_fit_is_a_challenger_and_the_list_shows_who_is_who(
    tracking: str, champion: str, run: Run, tmp_path: Path
) -> None:
    """Registering must change nothing for those whose mail is judged now."""
    status, said = run("register", str(contender(tmp_path / "new")))
    _, table = run("list")
    rows = json.loads(run("list", "--json")[1])

    assert (status, said) == (0, "version 2 is challenger")
    assert aliased(tracking, ALIAS) == champion
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [["2", "challenger", "new"], ["1", ALIAS, "old"]]
    assert [(row["version"], row["aliases"], row["artefact"], row["dataset_digest"]) for row in rows] == [
        ("2", ["challenger"], "new", "none"),
        ("1", ["champion"], "old", "none"),
    ]
    assert rows[0]["created"].startswith("20")


def test_an_empty_registry_lists_nothing(run: Run) -> None:
    """The first command that a newcomer tries must not be a traceback."""
    assert run("list", "--json") == (0, "[]")
    assert run("list")[0] == 0


def test_card_and_registry_agree(tracking: str, run: Run, tmp_path: Path) -> None:
    """People read the registry's pages; what runs is the artefact."""
    folder = contender(tmp_path / "new")
    names = ("n", "positives", "auroc", "average_precision", "ece")
    write_card(folder, {f"validation.{name}": 0.625 for name in names}, {"run_id": "r1"})
    version = register(tracking, folder, alias=ALIAS)

    said = connect(tracking).get_model_version(NAME, version)

    assert said.description == (folder / CARD).read_text()
    assert "0.6250" in said.description
    assert said.tags == tags(describe(folder))
    assert float(said.tags["temperature"]) == HONEST
    assert run("check") == (0, f"version {version}: card and registry agree")


@pytest.mark.parametrize(
    ("has_card", "complaint"),
    [(True, "does not say what the artefact says"), (False, "description, temperature in the registry")],
)
def test_a_changed_artefact_no_longer_agrees(
    has_card: bool, complaint: str, champion: str, run: Run, empty: Path
) -> None:
    """Somebody who turns a threshold in the store must not leave a card that says otherwise."""
    file = stored(empty, "old")
    spoil(file, temperature=2.5)
    if not has_card:
        file.with_name(CARD).unlink()

    status, said = run("check")

    assert (champion, status) == ("1", 1)
    assert "\n" not in said
    assert complaint in said


def test_a_changed_tag_no_longer_agrees(tracking: str, champion: str, run: Run) -> None:
    """The registry's page can be edited by hand."""
    connect(tracking).set_model_version_tag(NAME, champion, "bound", "0.5")

    status, said = run("check")

    assert status == 1
    assert said.startswith(f"version {champion}: bound in the registry is not what its artefact says")


def test_an_outdated_card_is_not_registered(tracking: str, tmp_path: Path) -> None:
    """An artefact that was certified again has other thresholds than its card."""
    folder = contender(tmp_path / "new")
    redescribe(folder, temperature=2.0)

    with pytest.raises(RegistryError, match=r"run `python -m training.card"):
        register(tracking, folder)


def test_a_run_keeps_the_card_of_what_it_registers(tracking: str, tmp_path: Path) -> None:
    """A run's page is where somebody looks first."""
    folder = contender(tmp_path / "new")
    connect(tracking)
    with mlflow.start_run() as active:
        register(tracking, folder)

    assert mlflow.artifacts.load_text(f"runs:/{active.info.run_id}/{CARD}") == (folder / CARD).read_text()


def test_the_tables_of_a_run_are_noted_with_their_digest(tracking: str) -> None:
    """A run whose data nobody can name cannot be made again; and a run that goes on notes them once."""
    connect(tracking)
    with mlflow.start_run() as active:
        for _ in range(2):
            log_datasets((Path("lists/m.parquet"), Path("lists/i.parquet")), "a" * 64)

    inputs = mlflow.get_run(active.info.run_id).inputs
    assert inputs is not None
    assert sorted((each.dataset.name, each.tags[0].value) for each in inputs.dataset_inputs) == [
        ("i, training", "training"),
        ("i, validation", "validation"),
        ("m, training", "training"),
        ("m, validation", "validation"),
    ]
    assert {each.dataset.digest for each in inputs.dataset_inputs} == {"a" * 36}
    assert all("lists/" in each.dataset.source for each in inputs.dataset_inputs)
