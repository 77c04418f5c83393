"""The heads once more, when the encoder is tuned: words from mails that are new to it.

On the mails that it was tuned on, the encoder is better than it will ever be again; heads fitted there trust it too
much (stacking, Wolpert 1992). Each learns by itself, and their mean is steadier than any of them. The invented notices
are few, so they are used both times.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from training.batches import padded
from training.config import Config
from training.fit import Log
from training.lessons import Lesson
from training.model import Classifier
from training.progress import chunks
from training.tokens import encode, load_tokenizer

_BATCH = 256

Logits = Callable[[Tensor], Tensor]


def refit(model: Classifier, lesson: Lesson, tokenizer: Path, config: Config, log: Log) -> None:
    """Fits the heads in place on pairs whose mails are new to the encoder. `log(figures, step)` hears of each epoch's
    loss."""
    fresh = lesson.pairs
    torch.manual_seed(config.seed)
    texts, of = fresh.mails()
    pooled, mail = embeddings(model, texts, tokenizer, config.max_length), torch.from_numpy(of)
    features, said = torch.from_numpy(fresh.features), torch.from_numpy(lesson.habit)
    model.restart_heads()
    losses = _minimise(
        model.heads,
        lambda rows: model.opinions(pooled[mail[rows]], features[rows], said[rows]),
        torch.from_numpy(lesson.targets),
        config.refit_rate,
        config.refit_epochs,
    )
    for epoch, loss in enumerate(losses):
        log({"refit_loss": loss}, epoch)


@torch.inference_mode()
def embeddings(model: Classifier, texts: tuple[str, ...], tokenizer: Path, max_length: int) -> Tensor:
    """The encoder's word on each text, (M, width) float32, computed in batches of like length."""
    model.train(False)
    ids = encode(load_tokenizer(tokenizer), texts, max_length)
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    found = torch.zeros(len(ids), model.encoder.config.hidden_size)
    for chunk in chunks(order, "reading"):
        found[list(chunk)] = model.embed(**padded([ids[at] for at in chunk])).float()
    return found.clone()


def _minimise(network: nn.Module, logits: Logits, targets: Tensor, rate: float, epochs: int) -> list[float]:
    """Each epoch's mean loss, the network fitted in place: AdamW with one cycle of the learning rate."""
    network.train(True)
    steps = epochs * -(-len(targets) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    losses = []
    for _ in range(epochs):
        batches = torch.split(torch.randperm(len(targets)), _BATCH)
        losses.append(sum(_step(logits, targets, rows, optimizer, schedule) for rows in batches) / len(batches))
    network.train(False)
    return losses


def _step(
    logits: Logits,
    targets: Tensor,
    rows: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    said = logits(rows)
    loss = nn.functional.binary_cross_entropy_with_logits(said, targets[rows].unsqueeze(-1).expand_as(said))
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    schedule.step()
    return float(loss.detach())
