"""The fine-tuning itself: a transformers Trainer that can be stopped and goes on where it was."""

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from training.batches import collate
from training.config import Config
from training.model import Classifier
from training.ranks import processes

Log = Callable[[dict[str, float], int], None]


class Stopped(Exception):
    """Somebody pressed Ctrl-C; the checkpoint of that moment is kept."""


def fit(model: Classifier, rows: Dataset, config: Config, log: Log) -> Classifier:
    """The model, fine-tuned in place on training.batches' rows, from the last checkpoint in the run's folder if any.

    `log(figures, step)` hears of the loss as it goes. Raises Stopped after Ctrl-C, once the checkpoint is written.
    """
    checkpoints = config.folder / "checkpoints"
    watch = _Watch(log)
    trainer = Trainer(
        model=model,
        args=_arguments(checkpoints, config),
        train_dataset=rows,
        data_collator=collate,
        callbacks=[watch],
        optimizers=(_optimizer(model, config), None),
    )
    with watch.interruptible():
        trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    plain: Classifier = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)  # without autocast
    step = trainer.state.global_step
    del trainer
    _leave_group()
    if watch.stopping:
        raise Stopped(f"stopped at step {step}; the same command goes on from there")
    return plain


def _leave_group() -> None:
    """Leave the other processes, once nothing of this one's training is left that holds the group.

    Whoever lets go of it last waits for gloo's threads: as DDP's reducer does that with the GIL held, which such a
    thread may be waiting for, it has to be gone before (pytorch/pytorch, issue 56297).
    """
    gc.collect()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint in a run's `checkpoints`, None where there is none yet."""
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def _arguments(folder: Path, config: Config) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=max(config.batch_size // processes(), 1),  # a batch is shared by all of them
        warmup_steps=config.warmup,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        remove_unused_columns=False,
        bf16=config.bf16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        save_steps=config.save_steps,
        save_total_limit=2,
        logging_steps=25,
        report_to=[],
        ddp_backend="gloo" if processes() > 1 and not torch.cuda.is_available() else None,
        ddp_find_unused_parameters=True,  # a batch may hold no pair, or no auxiliary task
        seed=config.seed,
    )


def _optimizer(model: Classifier, config: Config) -> torch.optim.Optimizer:
    """AdamW; the encoder is nudged, the new layers learn."""
    encoder = [weights for weights in model.encoder.parameters() if weights.requires_grad]
    head = [*model.heads.parameters(), *model.aside.parameters()]
    groups = [{"params": encoder, "lr": config.encoder_rate}, {"params": head, "lr": config.head_rate}]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


@dataclass
class _Watch(TrainerCallback):
    """Passes figures on, and turns Ctrl-C into a checkpoint."""

    log: Log
    stopping: bool = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """The first SIGINT stops at the next step; the second interrupts as usual."""
        before = signal.signal(signal.SIGINT, self._stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        figures = kwargs["logs"].items()
        self.log({name: float(value) for name, value in figures if isinstance(value, int | float)}, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **kwargs: Any) -> None:  # noqa: ARG002
        control.should_save = control.should_save or self.stopping
        control.should_training_stop = control.should_training_stop or self.stopping

    def _stop(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
