"""The whole chain on a tiny mailbox: tables → fit → export → register → load → predict."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import TrainerControl, TrainerState

from training.artefact import Artefact
from training.config import Config
from training.experiment import experiment
from training.fit import Stopped
from training.lessons import prepare
from training.pairs import load_pairs
from training.registry import champion, check
from training.train import main

pytestmark = pytest.mark.slow

CHALLENGER = "models:/clarion@challenger"
NOTICES = 100  # fewer than there are to learn from: the end of any lesson that has them


@pytest.fixture(scope="module")
def trained(config: Config) -> Path:
    """The challenger's folder, as serving would find it."""
    experiment(config)
    return champion(config.tracking, CHALLENGER)


def test_what_was_trained_predicts(trained: Path, config: Config) -> None:
    """What training registers is what serving loads; nothing lies between them."""
    artefact = Artefact.load(trained)
    pairs = load_pairs(Path(config.messages), Path(config.interactions), config.label)

    scores = artefact.predict(pairs.examples())

    assert artefact.trained_until == config.cuts[0]
    assert artefact.bound is None
    assert artefact.thresholds.discard is None
    assert scores[pairs.labels == 1].mean() > scores[pairs.labels == 0].mean() + 0.15


@pytest.mark.parametrize(("train_pairs", "bare"), [(40, True), (0, False)])
def test_notices_teach_the_encoder_words_and_the_head_to_weigh_them(
    config: Config, train_pairs: int, bare: bool
) -> None:
    """With history's word in the encoder's own lesson, it told notices that were kept aside by 0.77 instead of 0.83."""
    pairs = load_pairs(Path(config.messages), Path(config.interactions), config.label)
    lessons = prepare(pairs, replace(config, notices="data/notices", notice_copies=1, train_pairs=train_pairs))
    spoken, weighed = (np.unique(each.targets[-NOTICES:]) for each in (lessons.encoder, lessons.head))

    assert (spoken.tolist() == [0.0, 1.0]) is bare
    assert len(weighed) > 2


def test_the_run_is_written_down(trained: Path, config: Config) -> None:
    """A number without digest, parameters and run id does not count."""
    import mlflow

    mlflow.set_tracking_uri(config.tracking)
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")

    assert run.info.run_id.startswith(json.loads((trained / "artefact.json").read_text())["version"].split("-")[-1])
    assert run.data.params["dataset_digest"] == Artefact.load(trained).dataset_digest
    assert run.data.params["seed"] == "0"
    assert {
        "validation.auroc",
        "validation.boosted_trees.auroc",
        "quantisation.max_difference",
    } <= run.data.metrics.keys()
    assert run.inputs is not None
    assert {each.dataset.digest for each in run.inputs.dataset_inputs} == {run.data.params["dataset_digest"][:36]}
    model = mlflow.models.get_model_info(CHALLENGER)
    assert model.signature is not None
    assert model.saved_input_example_info is not None


def test_the_registry_says_what_the_run_measured(trained: Path, config: Config) -> None:
    """A card that somebody has to write is a card that nobody writes."""
    import mlflow

    mlflow.set_tracking_uri(config.tracking)
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    version = mlflow.MlflowClient().get_model_version_by_alias("clarion", "challenger")
    kept = json.loads((trained / "figures.json").read_text())

    assert check(config.tracking, CHALLENGER) == str(version.version)
    assert version.description is not None
    assert f"`{run.info.run_id}`" in version.description
    assert f"| {run.data.metrics['validation.boosted_trees.average_precision']:.4f} |" in version.description
    assert kept["figures"].keys() <= run.data.metrics.keys()
    assert {"validation.auroc", "validation.words.ece", "quantisation.int8_ece"} <= kept["figures"].keys()


def test_eight_bits_cost_little(trained: Path, config: Config) -> None:
    """Serving runs the quantised graph; a different opinion there would make every figure of training void."""
    import mlflow

    mlflow.set_tracking_uri(config.tracking)
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")

    assert trained.is_dir()
    assert run.data.metrics["quantisation.max_difference"] < 0.05


def test_an_interrupted_run_goes_on_from_its_checkpoint(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour of training must survive Ctrl-C, a crash and a power cut."""
    from training import fit

    stopped = replace(config, name="stopped", register=False)
    steps: list[int] = []
    resumed: list[int] = []

    def stop(watch: fit._Watch, _: object, state: TrainerState, control: TrainerControl, **__: object) -> None:
        steps.append(state.global_step)
        control.should_save = control.should_training_stop = watch.stopping = state.global_step == 4

    def go_on(_: object, __: object, state: TrainerState, *___: object, **____: object) -> None:
        resumed.append(state.global_step)

    with monkeypatch.context() as patched:
        patched.setattr(fit._Watch, "on_step_end", stop)
        with pytest.raises(Stopped, match="step 4"):
            experiment(stopped)
    monkeypatch.setattr(fit._Watch, "on_step_end", go_on)
    experiment(stopped)

    assert steps == [1, 2, 3, 4]
    assert resumed[0] == 5
    assert (stopped.folder / "artefact" / "artefact.json").exists()


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("heads", {"history": "heads", "taught_by_trees": 0.5}),
        ("words", {"history": "nothing", "freeze": "all but adapters"}),
    ],
)
def test_other_recipes_reach_their_artefact(config: Config, what: str, changes: dict[str, Any]) -> None:
    """Ablations compare whole chains; what only fits and cannot be exported is no model."""
    other = replace(config, name=what, peers=False, register=False, **changes)

    experiment(other)

    artefact = Artefact.load(other.folder / "artefact")
    pairs = load_pairs(Path(config.messages), Path(config.interactions), config.label)
    scores, of = artefact.logits(pairs.examples()), pairs.mails()[1]
    same = [set(np.round(scores[of == mail], 4)) for mail in range(of.max() + 1)]
    assert scores.std() > 0
    assert all(len(each) == 1 for each in same) == (what == "words")


def test_invented_notices_are_learned_and_judged_apart(config: Config, tmp_path: Path) -> None:
    """They must reach the model, and those that are kept aside must not.

    They say the opposite of what the mailbox says of the same words: with the mailbox alone the AUROC is 0.33 to 0.50,
    with them 0.73 to 0.99 (four and eight seeds; what is left to chance is whose history each of them borrows).
    """
    import mlflow

    rows = [
        {"from": f"A <a{n}@x.example>", "subject": f"disk full {n}" if n % 2 else f"weekly news {n}", "body": "now",
         "automated": True, "urgent": not n % 2}
        for n in range(14 * 8)
    ]  # fmt: skip
    (tmp_path / "invented.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    longer = replace(config, epochs=3.0, encoder_rate=3e-3, refit_epochs=30, refit_rate=5e-3)
    experiment(replace(longer, name="notices", notices=str(tmp_path), peers=False, register=False))

    mlflow.set_tracking_uri(config.tracking)
    (run,) = mlflow.search_runs(
        search_all_experiments=True, filter_string="attributes.run_name = 'notices'", output_format="list"
    )
    assert run.data.metrics["notices.n"] == 14 * config.notice_copies
    assert run.data.metrics["notices.auroc"] > 0.6


def test_other_settings_do_not_go_on_from_that_checkpoint(trained: Path, config: Config) -> None:
    """Weights of one setting under the name of another would be a lie in the log."""
    from training.config import ConfigError

    assert trained.is_dir()
    with pytest.raises(ConfigError, match="other settings"):
        experiment(replace(config, max_length=8))


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("messages = 'absent.parquet'", "no such file"),
        (f"messages = '{__file__}'", "not a readable parquet"),
        ("lenght = 3", "no setting 'lenght'"),
        ("validation_from = '1990-01-01'\ntest_from = '1991-01-01'", "no pair lies in this span"),
        ("encoder_from = 'nobody'", "run that experiment first"),
        ("without_list = 'nobody'", "its lists are team"),
    ],
)
def test_the_command_refuses_in_one_line(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str, said: str
) -> None:
    """A traceback says where the code was, not what to change."""
    own = ("messages", "interactions", "tracking", "encoder", "validation_from", "test_from")
    lines = [f"{name} = {json.dumps(getattr(config, name))}" for name in own if name not in stated]
    path = tmp_path / "bad.toml"
    path.write_text("\n".join([stated, *lines, f"output = '{tmp_path}/runs'"]))
    monkeypatch.setattr(sys, "argv", ["training.train", str(path)])

    with pytest.raises(SystemExit) as refused:
        main()

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
