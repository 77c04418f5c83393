"""Mails with all their pairs as rows, and rows as padded tensors: a mail to ten people is read once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from data.history import FEATURES
from training.lessons import Lesson
from training.severity import Asides
from training.tokens import encode, load_tokenizer

Row = dict[str, Any]


def rows_of(lesson: Lesson, asides: Asides, tokenizer: Path, max_length: int) -> Dataset:
    """A row for each different mail with its pairs' features, labels and habit; a row without pairs for each aside."""
    pairs = lesson.pairs
    texts, of = pairs.mails()
    groups = np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of))[:-1])
    ids = encode(load_tokenizer(tokenizer), [*texts, *asides.texts], max_length)
    nothing: list[Any] = [[] for _ in range(len(asides))]
    return Dataset.from_dict(
        {
            "input_ids": ids,
            "features": [*(pairs.features[rows].tolist() for rows in groups), *nothing],
            "labels": [*(lesson.targets[rows].tolist() for rows in groups), *nothing],
            "habit": [*(lesson.habit[rows].tolist() for rows in groups), *nothing],
            "task": [*(-1 for _ in groups), *asides.tasks],
            "answer": [*(-1 for _ in groups), *asides.answers],
            "length": [len(row) for row in ids],
        }
    )


def collate(rows: Sequence[Row]) -> dict[str, Tensor]:
    """One batch of mails as Classifier.forward takes it; it may hold no pair at all."""
    pairs = [(number, at) for number, row in enumerate(rows) for at in range(len(row["labels"]))]
    features = np.array([rows[number]["features"][at] for number, at in pairs], dtype=np.float32)
    return {
        **padded([row["input_ids"] for row in rows]),
        "features": torch.from_numpy(features.reshape(len(pairs), len(FEATURES))),
        "mail": torch.tensor([number for number, _ in pairs], dtype=torch.long),
        "habit": torch.tensor([rows[number]["habit"][at] for number, at in pairs], dtype=torch.float32),
        "labels": torch.tensor([rows[number]["labels"][at] for number, at in pairs], dtype=torch.float32),
        "task": torch.tensor([row["task"] for row in rows], dtype=torch.long),
        "answer": torch.tensor([row["answer"] for row in rows], dtype=torch.long),
    }


def padded(ids: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Token ids, padded at the right to the longest of them, and which of them count: both (M, T)."""
    tokens = torch.zeros((len(ids), max(map(len, ids))), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for at, row in enumerate(ids):
        tokens[at, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[at, : len(row)] = 1
    return {"input_ids": tokens, "attention_mask": mask}
