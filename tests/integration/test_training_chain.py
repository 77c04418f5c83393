"""The whole chain on a tiny mailbox: tables → fit → export → register → load → predict."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, TrainerControl, TrainerState

from data.interactions import interactions
from data.schema import Message
from data.table import write_interactions, write_messages
from training.artefact import Artefact
from training.config import Config
from training.experiment import experiment
from training.fit import Stopped
from training.pairs import load_pairs
from training.registry import champion
from training.train import main

pytestmark = pytest.mark.slow

DAY = 86_400.0
FIRST = 1_648_800_000.0  # April 2022: the benchmark's cut lies in the middle of this mailbox
WORDS = ("please", "look", "now", "weekly", "news", "disk", "full", "nothing", "new")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer encoder with random weights and a vocabulary of a few words."""
    folder = tmp_path_factory.mktemp("encoder")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    shape = BertConfig(
        vocab_size=len(vocabulary),
        max_position_embeddings=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(shape, add_pooling_layer=False).save_pretrained(folder)
    return folder


def mailbox() -> list[Message]:
    """Ada asks and Ben answers at once; Ada sends news and nobody does."""
    mails: list[Message] = []
    for number in range(160):
        asks = number % 2 == 0
        words = "please look now disk full" if asks else "weekly news nothing new"
        mails.append(_mail(f"m{number}", "ada", "ben", FIRST + number * DAY / 2, words, None))
        if asks:
            mails.append(_mail(f"r{number}", "ben", "ada", FIRST + number * DAY / 2 + 3_600, "nothing", f"m{number}"))
    return mails


def _mail(message_id: str, sender: str, to: str, date: float, words: str, parent: str | None) -> Message:
    return Message(
        "team", message_id, date, f"{sender}@x.invalid", sender, (f"{to}@x.invalid",), (), words, parent, words,
        len(words), sender_id=sender,
    )  # fmt: skip


@pytest.fixture(scope="module")
def config(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run of a few seconds on that mailbox."""
    home = tmp_path_factory.mktemp("run")
    write_messages(mailbox(), home / "m.parquet")
    write_interactions(interactions(mailbox(), posts=5), home / "i.parquet")
    return Config(
        "tiny",
        messages=str(home / "m.parquet"),
        interactions=str(home / "i.parquet"),
        validation_from="2022-05-20",
        test_from="2022-06-10",
        encoder=str(encoder),
        train_pairs=40,
        head_pairs=30,
        max_length=16,
        epochs=2.0,
        batch_size=8,
        save_steps=2,
        calibration_pairs=10,
        tracking=f"sqlite:///{home / 'mlflow.db'}",
        output=str(home / "runs"),
    )


@pytest.fixture(scope="module")
def trained(config: Config) -> Path:
    """The champion's folder, as serving would find it."""
    experiment(config)
    return champion(config.tracking)


def test_the_champion_predicts(trained: Path, config: Config) -> None:
    """What training registers is what serving loads; nothing lies between them."""
    artefact = Artefact.load(trained)
    pairs = load_pairs(Path(config.messages), Path(config.interactions), config.label)

    scores = artefact.predict(pairs.examples())

    assert artefact.trained_until == config.cuts[0]
    assert artefact.bound is None
    assert artefact.thresholds.discard is None
    assert scores[pairs.labels == 1].mean() > scores[pairs.labels == 0].mean() + 0.15


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
    model = mlflow.models.get_model_info("models:/clarion@champion")
    assert model.signature is not None
    assert model.saved_input_example_info is not None


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
