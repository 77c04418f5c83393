"""Mails as rows, rows as tensors: every pair finds its mail, and a batch may hold no pair."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from data.history import FEATURES
from training.batches import collate, padded, rows_of
from training.lessons import Lesson, answered, stressed, taught
from training.pairs import Pairs
from training.severity import Asides, no_asides


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2, "three": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def lesson(*texts: str) -> Lesson:
    """A pair for each text, its features all equal to its number."""
    count, nobody = len(texts), ("",) * len(texts)
    features = np.repeat(np.arange(count, dtype=np.float32)[:, None], len(FEATURES), axis=1)
    labels, nothing = np.arange(count, dtype=np.int64) % 2, np.zeros(count)
    pairs = Pairs(texts, features, labels, nothing, nobody, np.zeros(count, dtype=np.bool_), nobody, nobody, nothing)
    return answered(pairs, np.arange(count).astype(np.float32) * np.float32(0.1))


def test_every_pair_finds_the_mail_that_it_belongs_to(tokenizer: Path) -> None:
    """A pair beside another mail's words would only show as a mediocre model."""
    rows = rows_of(lesson("one", "two three", "one"), no_asides(), tokenizer, 8)

    batch = collate([rows[at] for at in (1, 0)])

    assert len(rows) == 2
    assert batch["input_ids"].tolist() == [[2, 3], [1, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["mail"].tolist() == [0, 1, 1]
    assert batch["features"][:, 0].tolist() == [1.0, 0.0, 2.0]
    assert batch["labels"].tolist() == [1, 0, 0]
    assert batch["habit"].tolist() == pytest.approx([0.1, 0.0, 0.2])


def test_a_batch_of_asides_alone_has_no_pair(tokenizer: Path) -> None:
    """Short texts are put together; such a batch once ended a run after an hour."""
    rows = rows_of(lesson("one"), Asides(("two", "three"), (0, 1), (1, 0)), tokenizer, 8)

    batch = collate([rows[1], rows[2]])

    assert batch["features"].shape == (0, len(FEATURES))
    assert batch["labels"].shape == batch["mail"].shape == (0,)
    assert batch["task"].tolist() == [0, 1]
    assert batch["answer"].tolist() == [1, 0]


def test_padding_is_at_the_right_and_is_not_read() -> None:
    """A score must not depend on what else is in the batch."""
    batch = padded([[5], [6, 7, 8]])

    assert batch["input_ids"].dtype == torch.long
    assert batch["input_ids"].tolist() == [[5, 0, 0], [6, 7, 8]]
    assert batch["attention_mask"].sum(1).tolist() == [1, 3]


def test_a_notice_moves_what_history_says_and_does_not_silence_it() -> None:
    """Whoever always answers a sender, or never does, must still be heard by the score."""
    of = lesson("fire", "cake", "fire", "cake").pairs
    habit = np.array([-3.0, -3.0, 1.0, 1.0], dtype=np.float32)

    taught = stressed(of, habit).targets

    assert taught[1] > 0.5 > taught[0]
    assert (taught[1], taught[0]) < (taught[3], taught[2])


def test_a_teacher_is_heard_for_his_share() -> None:
    """Distillation of share 1 learns the trees, of share 0 the labels."""
    of, teacher = lesson("one", "two"), np.array([0.0, -2.0], dtype=np.float32)

    half = taught(of, teacher, 0.5).targets

    assert of.targets.tolist() == [0.0, 1.0]
    assert half.tolist() == pytest.approx([0.25, 0.5 + 0.5 / (1 + np.exp(2.0))])
