"""A tiny encoder, a tiny mailbox, a run of a few seconds on them, and an empty registry."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from data.interactions import interactions
from data.schema import Message
from data.table import write_interactions, write_messages
from tests.integration.contenders import copied
from training.config import Config

DAY = 86_400.0
FIRST = 1_648_800_000.0  # April 2022: the benchmark's cut lies in the middle of this mailbox
WORDS = ("please", "look", "now", "weekly", "news", "disk", "full", "nothing", "new")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer encoder with random weights, the same ones each time, and a vocabulary of a few words."""
    import torch  # seconds that only these tests have to wait
    from transformers import BertConfig, BertModel

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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        BertModel(shape, add_pooling_layer=False).save_pretrained(folder)
    return folder


def mailbox() -> list[Message]:
    """Ada asks and Ben answers at once; Ada sends news and nobody does."""
    mails: list[Message] = []
    for number in range(160):
        asks = number % 2 == 0
        words = f"please look now disk full {number}" if asks else f"weekly news nothing new {number}"
        mails.append(_mail(f"m{number}", "ada", "ben", FIRST + number * DAY / 2, words, None))
        if asks:
            mails.append(_mail(f"r{number}", "ben", "ada", FIRST + number * DAY / 2 + 3_600, "nothing", f"m{number}"))
    return mails


def _mail(message_id: str, sender: str, to: str, date: float, words: str, parent: str | None) -> Message:
    return Message(
        "team", message_id, date, f"{sender}@x.invalid", sender, (f"{to}@x.invalid",), (), words, parent, words,
        len(words), sender_id=sender,
    )  # fmt: skip


@pytest.fixture(scope="session")
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
        notices="",
        asides="",
        max_length=16,
        epochs=2.0,
        batch_size=8,
        save_steps=2,
        calibration_pairs=10,
        tracking=f"sqlite:///{home / 'mlflow.db'}",
        output=str(home / "runs"),
    )


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with nothing in it, which takes seconds to make."""
    from training.tracking import connect

    home = tmp_path_factory.mktemp("empty")
    connect(f"sqlite:///{home / 'mlflow.db'}")
    return home / "mlflow.db"


@pytest.fixture
def tracking(empty: Path, tmp_path: Path) -> str:
    """A registry of the test's own."""
    return copied(empty, tmp_path)
