"""The head once more, when the encoder is tuned: history from every training pair, words from pairs new to it.

On the pairs that it was tuned on, the encoder is better than it will ever be again; a head fitted there trusts it
too much. History alone costs seconds, so its part learns from the whole split (stacking, Wolpert 1992).
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from training.config import Config
from training.fit import Log, collate, dataset
from training.model import Classifier
from training.pairs import Pairs
from training.progress import chunks

_BATCH = 256

Logits = Callable[[Tensor], Tensor]


def refit(model: Classifier, everything: Pairs, fresh: Pairs, tokenizer: Path, config: Config, log: Log) -> None:
    """Fits the small networks in place: `habit` on everything, then all of them on the fresh pairs.

    `log(figures, step)` hears of each epoch's loss.
    """
    torch.manual_seed(config.seed)
    model.scale_to(everything.features)
    history, labels = model.scaled(torch.from_numpy(everything.features)), torch.from_numpy(everything.labels)
    rate, epochs = 3 * config.refit_rate, config.habit_epochs
    losses = _minimise(model.habit, lambda rows: model.habit(history[rows]).squeeze(-1), labels, rate, epochs)
    _tell(log, "habit_loss", losses)
    pooled = embeddings(model, fresh, tokenizer, config.max_length)
    known, answers = model.scaled(torch.from_numpy(fresh.features)), torch.from_numpy(fresh.labels)
    small = nn.ModuleList([model.habit, model.words, model.head])
    _restart(model)
    rate, epochs = config.refit_rate, config.refit_epochs
    _tell(
        log, "refit_loss", _minimise(small, lambda rows: model.judge(pooled[rows], known[rows]), answers, rate, epochs)
    )


@torch.inference_mode()
def embeddings(model: Classifier, pairs: Pairs, tokenizer: Path, max_length: int) -> Tensor:
    """The encoder's word on each pair's text, (N, width) float32, computed in batches of like length."""
    model.train(False)
    rows = dataset(pairs, tokenizer, max_length)
    lengths = rows["length"][:]
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    found = torch.zeros(len(rows), model.encoder.config.hidden_size)
    for chunk in chunks(order, "reading"):
        batch = collate([rows[at] for at in chunk])
        found[list(chunk)] = model.embed(batch["input_ids"], batch["attention_mask"]).float()
    return found.clone()


def _restart(model: Classifier) -> None:
    """The correction begins at nothing, so that it starts from what history alone says."""
    layers = [layer for layer in [*model.words, *model.head] if isinstance(layer, nn.Linear)]
    for layer in layers:
        layer.reset_parameters()
    nn.init.zeros_(layers[-1].weight)
    nn.init.zeros_(layers[-1].bias)


def _minimise(network: nn.Module, logits: Logits, labels: Tensor, rate: float, epochs: int) -> list[float]:
    """Each epoch's mean loss, the network fitted in place: AdamW with one cycle of the learning rate."""
    network.train(True)
    steps = epochs * -(-len(labels) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    losses = []
    for _ in range(epochs):
        batches = torch.split(torch.randperm(len(labels)), _BATCH)
        losses.append(sum(_step(logits, labels, rows, optimizer, schedule) for rows in batches) / len(batches))
    network.train(False)
    return losses


def _step(
    logits: Logits,
    labels: Tensor,
    rows: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    loss = nn.functional.binary_cross_entropy_with_logits(logits(rows), labels[rows].float())
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    schedule.step()
    return float(loss.detach())


def _tell(log: Log, name: str, losses: list[float]) -> None:
    for epoch, loss in enumerate(losses):
        log({name: loss}, epoch)
