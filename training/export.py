"""From a fine-tuned model to an artefact's graph: OpenVINO, the encoder and its embeddings in eight bits."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.artefact import GRAPH, TOKENIZER
from training.model import Classifier
from training.pairs import Pairs
from training.tokens import encode, load_tokenizer

# The history's numbers span orders of magnitude and the head is tiny: eight bits cost accuracy there and save nothing.
_PRECISE = nncf.IgnoredScope(patterns=[r".*model\.(forest|heads).*"])

Inputs = dict[str, NDArray[np.generic]]


def export(model: Classifier, tokenizer: Path, folder: Path, calibration: Pairs, max_length: int) -> None:
    """Writes graph and tokenizer into `folder`; what the quantiser sees, `calibration`, must be training pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = nncf.quantize(
        full_graph(model),
        nncf.Dataset(list(_inputs(calibration, tokenizer, max_length))),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=_PRECISE,
        subset_size=len(calibration),
    )
    # Half precision would move the trees' thresholds; what is large has eight bits already.
    ov.save_model(_small_embeddings(graph), folder / GRAPH, compress_to_fp16=False)
    shutil.copyfile(tokenizer, folder / TOKENIZER)


def _small_embeddings(graph: ov.Model) -> ov.Model:
    """Eight bits for what the quantiser left: the word embeddings, half of all weights."""
    return nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_ASYM, ignored_scope=_PRECISE)


def full_graph(model: Classifier) -> ov.Model:
    """The model in full precision: input_ids and attention_mask (1, T) and features (1, F) give one logit (1,)."""
    tokens = torch.ones((1, 8), dtype=torch.long)
    features = torch.zeros((1, model.config.features))
    graph = ov.convert_model(_Traced(model).train(False), example_input=(tokens, torch.ones_like(tokens), features))
    for port, name in zip(graph.inputs, ("input_ids", "attention_mask", "features"), strict=True):
        port.get_tensor().set_names({name})
    graph.reshape({"input_ids": [1, -1], "attention_mask": [1, -1], "features": [1, model.config.features]})
    return graph


class _Traced(nn.Module):
    """The model as a function of three tensors, which is what tracing wants."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, features: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, features=features).logits
        return logits


def _inputs(pairs: Pairs, tokenizer: Path, max_length: int) -> Iterator[Inputs]:
    rows = encode(load_tokenizer(tokenizer), pairs.texts, max_length)
    for ids, features in zip(rows, pairs.features, strict=True):
        tokens = np.array([ids], dtype=np.int64)
        yield {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "features": features[None, :]}
