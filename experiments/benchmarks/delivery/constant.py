"""A champion that says the same of every mail: an artefact as any other, whose graph and tokenizer read nothing.

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

from training.artefact import GRAPH, TOKENIZER, Thresholds, describe
from training.registry import STARTER

_LOGIT = 4.0


def write_constant(folder: Path) -> Path:
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
    replace(
        describe(folder), version="constant", certificates=(), bound=None, thresholds=Thresholds(0.5, None, (0.5, 0.5))
    ).write(folder)
    return folder
