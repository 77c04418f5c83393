"""Champions to whom all mail is urgent: one whose graph and tokenizer read nothing, and the starter, that asks for 0.

What stands around the model stays: the mail is opened, parsed, rendered, and its history is read and written.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from training.artefact import GRAPH, STARTER, TOKENIZER, Thresholds, describe

_LOGIT = 4.0


def constant(folder: Path) -> Path:
    """The folder, now an artefact that finds all mail urgent."""
    folder.mkdir(parents=True)
    shutil.copy(STARTER / "artefact.json", folder)
    inputs = [
        ops.parameter([-1, -1], np.int64, name="input_ids"),
        ops.parameter([-1, -1], np.int64, name="attention_mask"),
        ops.parameter([-1, -1], np.float32, name="features"),
    ]
    for each in inputs:
        each.output(0).set_names({each.friendly_name})
    answer = ops.result(ops.constant(np.array([_LOGIT], dtype=np.float32)))
    ov.save_model(ov.Model([answer], inputs, "constant"), folder / GRAPH)
    Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(folder / TOKENIZER))  # noqa: S106 - no secret
    return _lowered(folder, "constant")


def starter(folder: Path) -> Path:
    """The folder, now the starter champion: it scores as ever, and any score is urgent."""
    shutil.copytree(STARTER, folder)
    return _lowered(folder, "starter, any score")


def _lowered(folder: Path, version: str) -> Path:
    any_score = Thresholds(0.0, None, (0.0, 0.0))
    replace(describe(folder), version=version, certificates=(), bound=None, thresholds=any_score).write(folder)
    return folder
