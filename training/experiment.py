"""One experiment from tables to champion: fit, export, calibrate, measure, register; every step can be repeated."""

import json
from dataclasses import asdict
from pathlib import Path

import mlflow
import numpy as np
import torch

from data.history import FEATURES
from training.config import Config, ConfigError
from training.fit import fit, last_checkpoint
from training.model import Classifier, build, encoder_folder, take_encoder
from training.pairs import Pairs, check_labels, check_recipients, digest, load_pairs
from training.refit import refit
from training.tracking import connect


def experiment(config: Config) -> None:
    """Runs it, in one MLflow run that a repeated call continues. Raises ConfigError, BadTable, BadPairs, Stopped."""
    _remember(config)
    torch.manual_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    pairs = load_pairs(Path(config.messages), Path(config.interactions), config.label, without=config.without_list)
    everything, validation = split(pairs, config)
    train, rest = everything.part(config.train_pairs, config.seed)
    fresh = rest.draw(config.head_pairs, config.seed) if config.head_pairs else rest.take(np.zeros(0, dtype=np.intp))
    with track(config):
        source = digest(Path(config.messages), Path(config.interactions))
        mlflow.log_params({**asdict(config), "dataset_digest": source, "features": len(FEATURES)})
        model = tune(_new_model(config), train, config)
        if len(fresh):
            refit(model, everything, fresh, tokenizer_file(config), config, _log)
        model.save_pretrained(config.folder / "model")
        from training.complete import complete

        complete(model, config, everything, validation, source)


def split(pairs: Pairs, config: Config) -> tuple[Pairs, Pairs]:
    """The pairs to learn from and those to choose by, cut by time. Raises BadPairs."""
    start, end = config.cuts
    train = pairs.between(-1e18, start)
    validation = pairs.between(start, end).draw(config.validation_pairs, config.seed)
    check_labels(train, "training pairs")
    check_labels(validation, "validation pairs")
    check_recipients(train, "training pairs")
    return train, validation


def tune(model: Classifier, train: Pairs, config: Config) -> Classifier:
    """The model with a tuned encoder: another run's, or tuned now. Raises ConfigError and Stopped."""
    if not config.encoder_from:
        return fit(model, train, tokenizer_file(config), config, _log)
    checkpoints = Path(config.output) / config.encoder_from / "checkpoints"
    last = last_checkpoint(checkpoints)
    if last is None:
        raise ConfigError(f"encoder_from: {checkpoints} holds no checkpoint; run that experiment first")
    take_encoder(model, Path(last))
    return model


def track(config: Config) -> mlflow.ActiveRun:
    """The experiment's MLflow run, the same one after an interruption; its id is kept in the run's folder."""
    connect(config.tracking)
    kept = config.folder / "run.txt"
    if kept.exists():
        return mlflow.start_run(run_id=kept.read_text(encoding="utf-8").strip())
    run = mlflow.start_run(run_name=config.name, log_system_metrics=False)
    kept.write_text(run.info.run_id, encoding="utf-8")
    return run


def tokenizer_file(config: Config) -> Path:
    """The encoder's own tokenizer."""
    return Path(encoder_folder(config.encoder)) / "tokenizer.json"


def _new_model(config: Config) -> Classifier:
    return build(
        config.encoder,
        len(FEATURES),
        hidden=config.hidden,
        dropout=config.dropout,
        freeze_embeddings=config.freeze_embeddings,
    )


def _remember(config: Config) -> None:
    """Keeps the configuration beside the checkpoints: they cannot go on under another one.

    A setting that came later is taken to have had its default then.
    """
    kept, stated = config.folder / "config.json", asdict(config)
    if kept.exists() and {**asdict(Config(config.name)), **json.loads(kept.read_text(encoding="utf-8"))} != stated:
        raise ConfigError(
            f"{config.folder} holds a run with other settings; remove it or give the experiment another name"
        )
    config.folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(stated, indent=2), encoding="utf-8")


def _log(figures: dict[str, float], step: int) -> None:
    mlflow.log_metrics(figures, step=step)
