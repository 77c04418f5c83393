"""A real artefact of a few kilobytes: urgent where the mail says "urgent", and nothing else learned."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from data.history import FEATURES
from training.artefact import GRAPH, TOKENIZER, Description, Thresholds

URGENT = 1
CERTAIN = 3.0


def make_artefact(folder: Path) -> Path:
    """The folder, filled."""
    folder.mkdir(parents=True)
    openvino.save_model(_graph(), folder / GRAPH)
    _tokenizer().save(str(folder / TOKENIZER))
    stated = {
        "version": "tiny",
        "encoder": "none",
        "dataset_digest": "none",
        "trained_until": 0.0,
        "max_length": 64,
        "temperature": 1.0,
        "offset": 0.0,
        "thresholds": Thresholds(0.5, None, (0.4, 0.6)),
        "bound": None,
        "features": FEATURES,
        "mean": (0.0,) * len(FEATURES),
        "scale": (1.0,) * len(FEATURES),
        "certificates": (),
    }
    Description(**{field.name: stated[field.name] for field in fields(Description)}).write(folder)  # type: ignore[arg-type]
    return folder


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "urgent": URGENT}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def _graph() -> openvino.Model:
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    mask = ops.parameter([-1, -1], np.int64, name="attention_mask")
    history = ops.parameter([-1, len(FEATURES)], np.float32, name="features")
    for node in (ids, mask, history):
        node.output(0).set_names({node.get_friendly_name()})
    along = ops.constant(np.array([1], np.int64))
    hit = ops.convert(ops.equal(ids, ops.constant(np.array(URGENT, np.int64))), "f32")
    said = ops.reduce_max(hit, along, keep_dims=False)
    for node in (ops.convert(mask, "f32"), history):
        unused = ops.reduce_sum(node, along, keep_dims=False)
        said = ops.add(said, ops.multiply(unused, ops.constant(np.float32(0))))
    logit = ops.subtract(ops.multiply(said, ops.constant(np.float32(2 * CERTAIN))), ops.constant(np.float32(CERTAIN)))
    return openvino.Model([logit], [ids, mask, history], "tiny")
