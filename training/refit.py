"""The heads once more, when the encoder is tuned: words from mails that are new to it.

On the mails that it was tuned on, the encoder is better than it will ever be again; heads fitted there trust it too
much (stacking, Wolpert 1992). Each learns by itself, and their mean is steadier than any of them. The invented notices
are few, so they are used both times.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from training.batches import padded
from training.config import Config
from training.fit import Log
from training.lessons import Lesson
from training.model import Classifier, weighed
from training.progress import chunks
from training.tokens import encode, load_tokenizer

_BATCH = 256


def refit(model: Classifier, lesson: Lesson, tokenizer: Path, config: Config, log: Log) -> None:
    """Fits the heads in place on pairs whose mails are new to the encoder. `log(figures, step)` hears of each epoch's
    loss."""
    fresh = lesson.pairs
    torch.manual_seed(config.seed)
    texts, of = fresh.mails()
    pooled, mail = embeddings(model, texts, tokenizer, config.max_length), torch.from_numpy(of)
    features, said = torch.from_numpy(fresh.features), torch.from_numpy(lesson.habit)
    model.restart_heads()
    targets = torch.from_numpy(lesson.targets)

    def loss_of(rows: Tensor) -> Tensor:
        opinions = model.opinions(pooled[mail[rows]], features[rows], said[rows])
        return weighed(opinions, targets[rows].unsqueeze(-1).expand_as(opinions), config.urgent_weight)

    losses = _minimise(model, loss_of, len(targets), config)
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


def _minimise(model: Classifier, loss_of: Callable[[Tensor], Tensor], count: int, config: Config) -> list[float]:
    """Each epoch's mean loss, the heads fitted in place: AdamW with one cycle of the learning rate."""
    model.heads.train(True)
    steps = config.refit_epochs * -(-count // _BATCH)
    optimizer = torch.optim.AdamW(model.heads.parameters(), lr=config.refit_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.refit_rate, total_steps=steps)
    losses = []
    for _ in range(config.refit_epochs):
        batches = torch.split(torch.randperm(count), _BATCH)
        losses.append(sum(_step(loss_of(rows), optimizer, schedule) for rows in batches) / len(batches))
    model.heads.train(False)
    return losses


def _step(loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler) -> float:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    schedule.step()
    return float(loss.detach())
